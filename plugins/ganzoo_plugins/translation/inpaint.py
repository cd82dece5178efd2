"""Inpainting: a hole in an image is filled, with a latent in more than one way."""

from collections.abc import Mapping, Sequence
from dataclasses import replace

import torch
from pydantic import Field
from torch import Tensor

from ganzoo import (
    Batch,
    DataSpec,
    DiscriminatorObjective,
    Generator,
    GeneratorRegularizer,
    Image,
    Latent,
    Loss,
    Mask,
    OptimizerConfig,
    Phase,
    Regularizer,
    Score,
    Signature,
    Trainer,
    TrainerConfig,
    UserError,
    whole_batch,
    widened,
)
from ganzoo_plugins.networks.dcgan import initialize
from ganzoo_plugins.networks.layers import output_activation
from ganzoo_plugins.networks.patch import PatchDiscriminator
from ganzoo_plugins.networks.unet import UNet

__all__ = ["Inpaint", "InpaintConfig", "Inpainter"]

_LEAST, _MOST = 0.25, 0.5  # sides of a hole, as shares of the image's


class InpaintConfig(TrainerConfig):
    """Settings of inpainting."""

    width: int = Field(16, ge=1, description="channels of the generator's first map, doubled up to 8 times")
    depth: int | None = Field(
        None, ge=1, description="downsampling steps of the generator; left out: as many as the image size allows"
    )
    latent_dim: int = Field(
        0, ge=0, description="size of the latent that decides between fillings; 0: no latent, one filling for each hole"
    )
    discriminator_width: int = Field(32, ge=1, description="channels of the discriminator's first map")
    patch_layers: int = Field(
        2, ge=1, description="stride-2 layers in the discriminator: patches of 16, 34, 70 ... pixels"
    )
    hole_weight: float = Field(20.0, ge=0, description="weight of the mean distance to the truth in the hole")
    rest_weight: float = Field(5.0, ge=0, description="weight of the same outside of the hole")
    diversity_weight: float = Field(
        0.0, ge=0, description="weight of the mode seeking term, which makes the fillings of two latents differ"
    )
    n_critic: int | None = Field(
        None, ge=1, description="discriminator steps for each generator step; left out: as in the paper of the loss"
    )
    optimizer: OptimizerConfig = Field(OptimizerConfig(lr=1e-3), description="optimizer of generator and discriminator")
    discriminator_lr: float | None = Field(
        None, gt=0, description="learning rate of the discriminator, if not the generator's"
    )


class Inpainter(Generator):
    """Maps an image, a mask and perhaps a latent to the image with its hole filled.

    Images of any height and width that are multiples of ``2**depth`` are taken.
    """

    def __init__(self, image: Image, width: int, depth: int, latent_dim: int) -> None:
        image = replace(image, multiple=2**depth)
        mask = Mask(image.height, image.width, multiple=2**depth)
        latent = (Latent((latent_dim,)),) if latent_dim else ()
        super().__init__(Signature((image, mask, *latent), image))
        self.body = UNet(image.channels + 1, image.channels, width, depth, latent=latent_dim)
        self.activation = output_activation(image)
        self.middle = sum(image.range) / 2

    def draw(self, x: Tensor, mask: Tensor, z: Tensor | None = None) -> Tensor:
        """Return the whole image [N, C, H, W] as the network draws it, also outside of the hole."""
        # The hole is filled with the middle of the value range; the mask is an input too, since gray may be content.
        erased = x * (1 - mask) + self.middle * mask
        return widened(self.activation(self.body(torch.cat([erased, mask], dim=1), z)))

    def forward(self, x: Tensor, mask: Tensor, z: Tensor | None = None) -> Tensor:
        """Map [N, C, H, W], [N, 1, H, W] and perhaps [N, L] to [N, C, H, W]: outside of the hole it is ``x``."""
        return x * (1 - mask) + self.draw(x, mask, z) * mask


class Inpaint(Trainer[InpaintConfig]):
    """Context Encoders: Feature Learning by Inpainting (arXiv:1604.07379), with a U-Net that is shown the mask.

    The hole is a rectangle of a quarter to half of the height and of the width, drawn at random for every image. The
    generator minimizes

        L(D(filled, mask)) + hole_weight mean |draw - x| in the hole + rest_weight mean |draw - x| elsewhere
        + diversity_weight |z - z'| / |filled(z) - filled(z')|,

    the last for models with a latent: the mode seeking term (arXiv:1903.05628, equation 2, inverted as in its code, so
    that it is minimized), without which the latent is ignored; distances are means over elements, images' those over
    the hole. The discriminator scores patches of images, and is shown the mask too.

    Height and width must be multiples of 4.
    """

    loss: Loss
    defaults = {
        "steps": 6_000,
        "batch_size": 32,
        "ema": 0.995,
        "lr_schedule": "linear",
        "loss": {"name": "non_saturating"},
        "data": {"name": "mnist5k"},
    }

    def __init__(
        self,
        config: InpaintConfig,
        data: DataSpec,
        loss: Loss | None,
        regularizers: Mapping[str, Regularizer | GeneratorRegularizer],
    ) -> None:
        super().__init__(config, data, loss, regularizers)
        image = self.scaled(data.sample)
        if not isinstance(image, Image):
            raise UserError(f"this model fills holes in images, and {data.name} has {image.kind}")
        if config.diversity_weight and not config.latent_dim:
            raise UserError("fillings differ by their latent: set model.latent_dim, or model.diversity_weight=0")
        self.image = image
        depth = config.depth or _num_downsamples(image)
        if depth < 2 or image.height % 2**depth or image.width % 2**depth:
            raise UserError(
                f"this model fills holes in images whose height and width are multiples of {2 ** max(depth, 2)}, not "
                f"{image.height}x{image.width}; resize them, or set model.depth"
            )
        self.generator = Inpainter(image, config.width, depth, config.latent_dim)
        fields = (image, Mask(image.height, image.width))
        self.discriminator = PatchDiscriminator(fields, config.discriminator_width, config.patch_layers, norm="batch")
        self.networks = {"generator": self.generator, "discriminator": self.discriminator}
        self.objective = DiscriminatorObjective(self.discriminator, loss, regularizers)
        rates = {"generator": None, "discriminator": config.discriminator_lr}
        for name, rate in rates.items():
            network = self.networks[name].apply(initialize)
            self.optimizers[name] = config.optimizer.build(network.parameters(), lr=rate, betas=self.loss.betas)

    def phases(self) -> Sequence[Phase]:
        """Discriminator, its lazy regularizers, generator."""
        return [
            *self.objective.phases(self._pair, repeat=self.config.n_critic),
            Phase("generator", self.generator_loss, updates=("generator",)),
        ]

    def generator_loss(self, batch: Batch) -> dict[str, Tensor]:
        """Return what the generator minimizes."""
        config, x = self.config, batch[self.data.sample.name]
        mask, z = self._mask(x), self._latent(x)
        # The discriminator sees the filled image, as the user will; the distances are taken on all that was drawn, so
        # that the network also learns to continue what surrounds the hole.
        drawn = self.generator.draw(x, mask, z)
        filled = x * (1 - mask) + drawn * mask
        real_scores = self.discriminator(x, mask) if self.loss.needs_real else None
        loss = self.loss.generator(self.discriminator(filled, mask), real_scores)
        logs = {"adversarial": loss.detach()}
        error = (drawn - x).abs().mean(1, keepdim=True)
        for name, weight, where in (("hole", config.hole_weight, mask), ("rest", config.rest_weight, 1 - mask)):
            # A mean over the region, so that the weights do not depend on how large the hole is.
            distance = _total(error * where) / _total(where)
            loss = loss + weight * distance
            logs[name] = distance.detach()
        if config.diversity_weight:
            # Mode seeking: latents that differ must give fillings that differ. The distance to the truth pulls all
            # fillings to one image, so without this term the latent would be ignored.
            other = self._latent(x)
            assert z is not None
            assert other is not None
            apart = _total((self.generator(x, mask, other) - filled).abs().mean(1)) / _total(mask)
            sameness = whole_batch((z - other).abs()).mean() / (apart + 1e-5)
            loss = loss + config.diversity_weight * sameness
            logs["sameness"] = sameness.detach()
        return {"loss": loss, **logs}

    def _pair(self, batch: Batch) -> tuple[Score, Tensor, Tensor]:
        x = batch[self.data.sample.name]
        mask = self._mask(x)
        with torch.no_grad():
            z = self._latent(x)
            filled = self.generator(x, mask, *(() if z is None else (z,)))
        return lambda images: self.discriminator(images, mask), x, filled

    def _latent(self, x: Tensor) -> Tensor | None:
        size = self.config.latent_dim
        return torch.randn(len(x), size, device=x.device) if size else None

    def _mask(self, x: Tensor) -> Tensor:
        """Return masks [N, 1, H, W] with a rectangle each."""
        # Whole-tensor operations: one rectangle for each image without a loop over the batch.
        n, _, *sides = x.shape
        covered = []
        for side in sides:
            share = _LEAST + (_MOST - _LEAST) * torch.rand(n, 1, device=x.device)
            length = (share * side).floor()
            start = (torch.rand(n, 1, device=x.device) * (side - length + 1)).floor()
            place = torch.arange(side, device=x.device)
            covered.append((place >= start) & (place < start + length))
        rows, columns = covered
        return (rows[:, None, :, None] & columns[:, None, None, :]).to(x.dtype)


def _total(x: Tensor) -> Tensor:
    """Return the sum over all samples of the batch."""
    return whole_batch(x.sum()[None]).sum()


def _num_downsamples(image: Image) -> int:
    count, height, width = 0, image.height, image.width
    while height % 2 == width % 2 == 0:
        count, height, width = count + 1, height // 2, width // 2
    return count
