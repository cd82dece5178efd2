"""A GAN of tokens: one-hot rows in training, with the gradient of their probabilities."""

from pydantic import Field
from torch import Tensor
from torch.nn.functional import one_hot

from ganzoo import AdversarialConfig, AdversarialTrainer, Generator, Latent, Signature, Tokens
from ganzoo_examples.perceptrons import PerceptronDiscriminator, perceptron


class WordGANConfig(AdversarialConfig):
    """What [model] may say."""

    latent_dim: int = Field(16, ge=1, description="size of the latent")
    width: int = Field(128, ge=1, description="width of the hidden layers")


class WordGenerator(Generator):
    """Latent [N, D] to tokens [N, L, V]: one-hot in training, probabilities otherwise, the largest of which counts."""

    def __init__(self, config: WordGANConfig, sample: Tokens) -> None:
        super().__init__(Signature((Latent((config.latent_dim,)),), sample))
        self.body = perceptron(config.latent_dim, config.width, sample.length * sample.vocabulary)

    def forward(self, z: Tensor) -> Tensor:
        soft = self.body(z).unflatten(1, self.signature.output.shape).softmax(-1)
        if not self.training:
            return soft
        hard = one_hot(soft.argmax(-1), soft.shape[-1]).to(soft.dtype)
        return hard + soft - soft.detach()  # straight through: what it is, with another's gradient


class WordGAN(AdversarialTrainer[WordGANConfig, Tokens]):
    """Real tokens come to the discriminator one-hot too, so losses and gradient penalties work as they are."""

    defaults = {
        "steps": 5_000,
        "batch_size": 64,
        "data": {"name": "ganzoo-examples/words"},
        "loss": {"name": "wgan_gp"},
    }

    def build_generator(self, sample: Tokens) -> WordGenerator:
        return WordGenerator(self.config, sample)

    def build_discriminator(self, sample: Tokens) -> PerceptronDiscriminator:
        return PerceptronDiscriminator(self.config.width, sample)
