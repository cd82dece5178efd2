"""Networks that models of this package share: perceptrons for samples of any shape."""

from math import prod

from torch import Tensor, nn

from ganzoo import Discriminator, Field, Generator, Image, Latent, Scores, Signature


def perceptron(inputs: int, width: int, outputs: int) -> nn.Sequential:
    """Return three layers, [N, inputs] to [N, outputs]."""
    return nn.Sequential(
        nn.Linear(inputs, width),
        nn.LeakyReLU(0.2),
        nn.Linear(width, width),
        nn.LeakyReLU(0.2),
        nn.Linear(width, outputs),
    )


class PerceptronGenerator(Generator):
    """Latents [N, L] to samples [N, ...]."""

    def __init__(self, latent: Latent, width: int, sample: Field) -> None:
        super().__init__(Signature((latent,), sample))
        self.body = perceptron(prod(latent.shape), width, prod(sample.shape))
        self.end = nn.Tanh() if isinstance(sample, Image) else nn.Identity()  # images are in -1..1

    def forward(self, z: Tensor) -> Tensor:
        return self.end(self.body(z)).unflatten(1, self.signature.output.shape)


class PerceptronDiscriminator(Discriminator):
    """Samples [N, ...] to a raw score each, [N]."""

    def __init__(self, width: int, sample: Field) -> None:
        super().__init__(Signature((sample,), Scores()))
        self.body = nn.Sequential(nn.Flatten(), perceptron(prod(sample.shape), width, 1))

    def forward(self, x: Tensor) -> Tensor:
        return self.body(x).squeeze(1)
