"""Registers the bundled losses and regularisers."""

from collections.abc import Iterable

from ganzoo import Spec, hookimpl

_GAN = "Generative Adversarial Networks, arXiv:1406.2661"
_WGAN = "Wasserstein GAN, arXiv:1701.07875"
_WGAN_GP = "Improved Training of Wasserstein GANs, arXiv:1704.00028"


@hookimpl
def ganzoo_specs() -> Iterable[Spec]:
    """Return the specs of the losses and regularisers."""
    here = "ganzoo_plugins.losses"
    return [
        Spec(
            "loss",
            "non_saturating",
            "Cross entropy; G maximises log D(G(z))",
            f"{here}.non_saturating:NonSaturating",
            _GAN,
        ),
        Spec("loss", "wgan", "Wasserstein distance, weights clipped", f"{here}.wasserstein:Wasserstein", _WGAN),
        Spec(
            "loss",
            "wgan_gp",
            "Wasserstein distance with gradient penalty",
            f"{here}.wasserstein:WassersteinGP",
            _WGAN_GP,
        ),
        Spec(
            "regularizer",
            "gradient_penalty",
            "Pulls the critic's gradient norm to 1 between real and fake",
            f"{here}.gradient_penalty:GradientPenalty",
            _WGAN_GP,
        ),
        Spec(
            "regularizer", "weight_clip", "Clips the critic's weights to a box", f"{here}.weight_clip:WeightClip", _WGAN
        ),
    ]
