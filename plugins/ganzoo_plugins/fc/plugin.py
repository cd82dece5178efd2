"""Registers the fully connected GANs."""

from collections.abc import Iterable

from ganzoo import Spec, hookimpl


@hookimpl
def ganzoo_specs() -> Iterable[Spec]:
    """Return the specs of the fully connected GANs."""
    return [
        Spec(
            "model",
            "gan_fc",
            "Fully connected GAN for images or points",
            "ganzoo_plugins.fc.gan_fc:FullyConnectedGAN",
            "Generative Adversarial Networks, arXiv:1406.2661",
        ),
        Spec(
            "model",
            "wgan_fc",
            "Fully connected WGAN, its critic's weights clipped, for images or points",
            "ganzoo_plugins.fc.gan_fc:FullyConnectedGAN",
            "Wasserstein GAN, arXiv:1701.07875",
            # As in the paper: RMSProp without momentum, five critic steps, weights in [-0.01, 0.01]. But the rate
            # is 5e-4: with the paper's 5e-5 there is no digit yet when this has drawn all ten.
            {
                "steps": 20_000,
                "batch_size": 64,
                "lr_schedule": "linear",
                "loss": {"name": "wgan"},
                "model": {"optimizer": {"name": "rmsprop", "lr": 5e-4}},
            },
        ),
        Spec(
            "model",
            "wgan_gp_fc",
            "Fully connected WGAN with gradient penalty, for images or points",
            "ganzoo_plugins.fc.gan_fc:FullyConnectedGAN",
            "Improved Training of Wasserstein GANs, arXiv:1704.00028",
            {
                "steps": 5_000,
                "batch_size": 64,
                "lr_schedule": "linear",
                "loss": {"name": "wgan_gp"},
                "model": {"optimizer": {"lr": 2e-3}},
            },
        ),
    ]
