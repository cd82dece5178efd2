"""Registers the image to image models."""

from collections.abc import Iterable

from ganzoo import Spec, hookimpl

_CYCLEGAN = "ganzoo_plugins.translation.cyclegan:CycleGAN"


@hookimpl
def ganzoo_specs() -> Iterable[Spec]:
    """Return the specs of the image to image models."""
    return [
        Spec(
            "model",
            "cyclegan",
            "CycleGAN: translation between two domains, both ways, learned without pairs",
            _CYCLEGAN,
            "Unpaired Image-to-Image Translation using Cycle-Consistent Adversarial Networks, arXiv:1703.10593",
            {
                "steps": 5_000,
                "regularizer": {"r1": {"weight": 0.01, "interval": 4}},
                "model": {"repaint": True, "identity_weight": 5.0, "patch_norm": "none"},
            },
        ),
        Spec(
            "model",
            "discogan",
            "DiscoGAN: CycleGAN with encoders and decoders, cross entropy and squared distances",
            _CYCLEGAN,
            "Learning to Discover Cross-Domain Relations with Generative Adversarial Networks, arXiv:1703.05192",
            # The paper's sum has equal weights; in its authors' code the adversarial loss has a tenth of the other's.
            {
                "batch_size": 32,
                "loss": {"name": "non_saturating"},
                "model": {
                    "generator": "encoder_decoder",
                    "width": 32,
                    "discriminator": "image",
                    "cycle_loss": "l2",
                    "cycle_weight": 10.0,
                    "pool": 0,
                },
            },
        ),
        Spec(
            "model",
            "dualgan",
            "DualGAN: CycleGAN with U-Nets, Wasserstein's loss with clipped weights, and RMSProp",
            _CYCLEGAN,
            "DualGAN: Unsupervised Dual Learning for Image-to-Image Translation, arXiv:1704.02510",
            {
                "loss": {"name": "wgan"},
                "model": {
                    "generator": "unet",
                    "width": 12,
                    "repaint": True,
                    "dropout": 0.5,
                    "cycle_weight": 100.0,
                    "pool": 0,
                    "n_critic": 3,
                    "optimizer": {"name": "rmsprop", "lr": 5e-4},
                },
            },
        ),
        Spec(
            "model",
            "pix2pix",
            "pix2pix: translation learned from pairs, by a U-Net and a discriminator of patches",
            "ganzoo_plugins.translation.pix2pix:Pix2Pix",
            "Image-to-Image Translation with Conditional Adversarial Networks, arXiv:1611.07004",
        ),
        Spec(
            "model",
            "inpaint",
            "Inpainting: a U-Net fills a hole in the image",
            "ganzoo_plugins.translation.inpaint:Inpaint",
            "Context Encoders: Feature Learning by Inpainting, arXiv:1604.07379",
        ),
        Spec(
            "model",
            "inpaint_z",
            "Inpainting with a latent: several fillings of the same hole",
            "ganzoo_plugins.translation.inpaint:Inpaint",
            "Mode Seeking Generative Adversarial Networks for Diverse Image Synthesis, arXiv:1903.05628",
            {"model": {"latent_dim": 8, "hole_weight": 2.0, "diversity_weight": 0.5}},
        ),
    ]
