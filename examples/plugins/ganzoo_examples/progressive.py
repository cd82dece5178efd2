"""A progressive GAN: it begins at 4 x 4 pixels, and finer levels are faded in one after another."""

from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import avg_pool2d, interpolate, leaky_relu

from ganzoo import (
    AdversarialConfig,
    AdversarialTrainer,
    Discriminator,
    Generator,
    Image,
    Latent,
    Scores,
    Signature,
    UserError,
)
from ganzoo_examples.levels import Levels


class ProgressiveConfig(AdversarialConfig):
    """What [model] may say."""

    width: int = Field(32, ge=1, description="channels")
    fade: int = Field(1_000, ge=1, description="steps that a level is faded in over, and trained before the next one")


class Painter(Generator):
    """Latent [N, 16] to images [N, C, S, S], the sum of all levels' images, enlarged to full size."""

    def __init__(self, width: int, sample: Image) -> None:
        super().__init__(Signature((Latent((16,)),), sample))
        self.start, self.levels = nn.Linear(16, width * 16), Levels(width, (width, sample.channels))

    def forward(self, z: Tensor) -> Tensor:
        x, images = self.start(z).unflatten(1, (-1, 4, 4)), []
        for level, draw in self.levels.pairs:
            x = leaky_relu(level(interpolate(x, scale_factor=2.0) if images else x), 0.2)
            images.append(interpolate(draw(x), scale_factor=float(self.signature.output.height // x.shape[-1])))
        return (sum(images[:-1]) + self.levels.alpha * images[-1]).tanh()


class Judge(Discriminator):
    """Images [N, C, S, S], reduced to the size of each level, to scores [N]."""

    def __init__(self, width: int, sample: Image) -> None:
        super().__init__(Signature((sample,), Scores()))
        self.levels, self.score = Levels(width, (sample.channels, width)), nn.Linear(width * 16, 1)

    def forward(self, image: Tensor) -> Tensor:
        x, share = 0.0, self.levels.alpha
        for number, (level, see) in reversed(list(enumerate(self.levels.pairs))):
            seen = avg_pool2d(image, image.shape[-1] // (4 << number))
            x, share = share * leaky_relu(level(x + leaky_relu(see(seen), 0.2)), 0.2), 1.0
            x = avg_pool2d(x, 2) if number else x
        return self.score(x.flatten(1)).squeeze(1)


class Progressive(AdversarialTrainer[ProgressiveConfig]):
    """Progressive Growing of GANs, arXiv:1710.10196, in small; levels are added up as in arXiv:1912.04958."""

    defaults = {"steps": 8_000, "data": {"name": "ganzoo-examples/marks"}, "loss": {"name": "non_saturating"}}

    def build_generator(self, sample: Image) -> Generator:
        if sample.height != sample.width or sample.height not in (8, 16, 32, 64):
            raise UserError(f"this model draws squares of 8, 16, 32 or 64 pixels, not {sample.describe()}")
        self.stages = [self.config.fade * (2 * level + 1) for level in range(sample.height.bit_length() - 3)]
        return Painter(self.config.width, sample)

    def build_discriminator(self, sample: Image) -> Discriminator:
        return Judge(self.config.width, sample)

    def grow(self, stage: int) -> None:
        for name, network in self.networks.items():
            self.optimizers[name].add_param_group({"params": network.levels.grow()})

    def discriminator_loss(self, batch: dict[str, Tensor], step: Tensor) -> dict[str, Tensor]:
        for network in self.networks.values() if self.stage else ():
            network.levels.alpha.copy_(((step + 1 - self.stages[self.stage - 1]) / self.config.fade).clamp(0, 1))
        return super().discriminator_loss(batch)
