"""An encoder that learns to predict the latent from which a generator drew an image."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from pydantic import Field
from torch import Tensor

from ganzoo import (
    AdversarialTrainer,
    Batch,
    DataSpec,
    GeneratorRegularizer,
    Image,
    Latent,
    Loss,
    OptimizerConfig,
    Phase,
    Regularizer,
    Run,
    Trainer,
    TrainerConfig,
    UserError,
    draw_latent,
    load_registry,
)
from ganzoo.config.validation import validate
from ganzoo_plugins.encoder.networks import Encoder

__all__ = ["EncoderRegression", "EncoderRegressionConfig"]


class EncoderRegressionConfig(TrainerConfig):
    """Settings of the regression encoder."""

    gan: str = Field("dcgan", description="the model whose generator gets an encoder")
    gan_settings: dict[str, Any] = Field({}, description="that model's settings, as its own [model] table")
    generator: Path | None = Field(
        None, description="run folder with the trained generator; left out: it is trained at the same time"
    )
    width: int = Field(32, ge=1, description="channels of the encoder's first map, doubled with each downsampling")
    image_weight: float = Field(
        0.0, ge=0, description="weight of mean |G(E(x)) - x| on real images, beside the squared error of latents"
    )
    optimizer: OptimizerConfig = Field(OptimizerConfig(lr=1e-3), description="optimizer of the encoder")


class EncoderRegression(Trainer[EncoderRegressionConfig]):
    """An encoder E beside a generator G, trained to return the latent: it minimizes mean (E(G(z)) - z)^2.

    (Invertible Conditional GANs for image editing, arXiv:1611.06355, section 3.1.) With ``image_weight`` it also
    minimizes the distance between real images and their reconstructions. The generator is trained by its own model at
    the same time, or taken from a finished run as it is (``ganzoo train --plugin encoder_regression --generator RUN``).
    A conditional generator is given the labels of the images; the encoder is not.
    """

    averaged = ("generator", "encoder")
    defaults = {
        "steps": 8_000,
        "batch_size": 64,
        "ema": 0.998,
        "lr_schedule": "linear",
        "loss": {"name": "non_saturating"},
        "data": {"name": "mnist5k"},
    }

    def __init__(
        self,
        config: EncoderRegressionConfig,
        data: DataSpec,
        loss: Loss | None,
        regularizers: Mapping[str, Regularizer | GeneratorRegularizer],
    ) -> None:
        super().__init__(config, data, loss, regularizers)
        gan = load_registry().get("model", config.gan).spec.load()
        if not issubclass(gan, AdversarialTrainer):
            raise UserError(f"{config.gan} has no generator that draws from a latent, so there is nothing to encode to")
        gan.check_samples(data.sample, config.gan)
        settings = validate(gan.Config, "model.gan_settings", config.gan_settings)
        self.gan: AdversarialTrainer = gan(settings, data, loss, regularizers)
        if self.gan.stages:
            if config.generator is None:
                raise UserError(
                    f"{config.gan} grows while it is trained, which an encoder beside it does not follow; train it "
                    "first, and give its run with --generator"
                )
            self.gan.reach(max(self.gan.stages))  # a run that has grown up
        self.pixel_range = self.gan.pixel_range
        self.generator = self.gan.generator
        latent, image = self.generator.signature.inputs[0], self.generator.signature.output
        if not isinstance(latent, Latent) or not isinstance(image, Image):
            raise UserError(f"{config.gan} draws no images from a latent here, and encoders are for those")
        self.encoder = Encoder(image, latent, config.width)
        if config.generator is None:
            self.networks = {**self.gan.networks, "encoder": self.encoder}
            self.optimizers = dict(self.gan.optimizers)
            self.batch_multiple = self.gan.batch_multiple
        else:
            self.networks = {"generator": self.generator.eval().requires_grad_(False), "encoder": self.encoder}
        self.optimizers["encoder"] = config.optimizer.build(self.encoder.parameters())

    def phases(self) -> Sequence[Phase]:
        """The generator's own, unless it is trained already, and the encoder's."""
        encoder = Phase("encoder", self.encoder_loss, updates=("encoder",))
        if self.config.generator is None:
            return [*self.gan.phases(), encoder]
        # Only here, where training begins: a run with an encoder can be used where its generator's run is not.
        network, _ = Run.open(self.config.generator).load(load_registry(), "generator")
        try:
            self.generator.load_state_dict(network.state_dict())
        except RuntimeError:
            raise UserError(
                f"{self.config.generator} is the run of another generator than model.gan and its settings say"
            ) from None
        return [encoder]

    def encoder_loss(self, batch: Batch) -> dict[str, Tensor]:
        """Return what the encoder minimizes."""
        x, condition = batch[self.data.sample.name], self.gan.condition(batch)
        # The truth is known for drawn images only, so the labels are those of the batch and the latents are new.
        z = draw_latent(self.generator, len(x), x.device)
        with torch.no_grad():
            drawn = self.generator(z, *condition)
        error = (self.encoder(drawn) - z).square().mean()
        logs = {"latent": error.detach()}
        # Real images have no known latent; their reconstruction is what can be compared.
        if self.config.image_weight:
            distance = (self.generator(self.encoder(x), *condition) - x).abs().mean()
            error = error + self.config.image_weight * distance
            logs["image"] = distance.detach()
        return {"loss": error, **logs}

    def state_dict(self) -> dict[str, Any]:
        """Return what the generator's model keeps."""
        return self.gan.state_dict()

    def load_state_dict(self, state: Mapping[str, Any]) -> None:
        self.gan.load_state_dict(state)
