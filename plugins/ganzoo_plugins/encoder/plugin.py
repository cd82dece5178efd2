"""Registers the models with encoders."""

from collections.abc import Iterable

from ganzoo import Spec, hookimpl

_HERE = "ganzoo_plugins.encoder"


@hookimpl
def ganzoo_specs() -> Iterable[Spec]:
    """Return the specs of the models with encoders."""
    return [
        Spec(
            "model",
            "encoder_regression",
            "An encoder beside a generator, trained together or for a finished run (--generator RUN)",
            f"{_HERE}.regression:EncoderRegression",
            "Invertible Conditional GANs for image editing, arXiv:1611.06355",
        ),
        Spec(
            "model",
            "bigan",
            "BiGAN: generator and encoder learn to be each other's inverse from a discriminator of pairs",
            f"{_HERE}.bigan:BiGAN",
            "Adversarial Feature Learning, arXiv:1605.09782",
        ),
        Spec(
            "model",
            "aae",
            "Adversarial autoencoder: a discriminator matches its codes to a normal distribution",
            f"{_HERE}.aae:AAE",
            "Adversarial Autoencoders, arXiv:1511.05644",
        ),
        Spec(
            "model",
            "vaegan",
            "VAE/GAN: a variational autoencoder whose errors are measured in a discriminator's features",
            f"{_HERE}.vaegan:VAEGAN",
            "Autoencoding beyond pixels using a learned similarity metric, arXiv:1512.09300",
        ),
    ]
