"""Registers the bundled losses."""

from collections.abc import Iterable

from ganzoo import Spec, hookimpl

_GAN = "Generative Adversarial Networks, arXiv:1406.2661"
_WGAN = "Wasserstein GAN, arXiv:1701.07875"
_WGAN_GP = "Improved Training of Wasserstein GANs, arXiv:1704.00028"
_LSGAN = "Least Squares Generative Adversarial Networks, arXiv:1611.04076"
_HINGE = "Geometric GAN, arXiv:1705.02894; Spectral Normalization for GANs, arXiv:1802.05957"
_RELATIVISTIC = "The relativistic discriminator, arXiv:1807.00734; R3GAN, arXiv:2501.05441"
_BEGAN = "BEGAN: Boundary Equilibrium Generative Adversarial Networks, arXiv:1703.10717"


@hookimpl
def ganzoo_specs() -> Iterable[Spec]:
    """Return the specs of the losses."""
    return [
        _loss("minimax", "Cross entropy; G minimizes log(1 - D(G(z)))", "minimax:Minimax", _GAN),
        _loss("non_saturating", "Cross entropy; G maximizes log D(G(z))", "non_saturating:NonSaturating", _GAN),
        _loss("lsgan", "Squared distance of scores from labels", "lsgan:LeastSquares", _LSGAN),
        _loss("hinge", "Hinge: margins at scores 1 and -1", "hinge:Hinge", _HINGE),
        _loss("wgan", "Wasserstein distance, weights clipped", "wasserstein:Wasserstein", _WGAN),
        _loss("wgan_gp", "Wasserstein distance with gradient penalty", "wasserstein:WassersteinGP", _WGAN_GP),
        _loss(
            "relativistic",
            "Cross entropy on score differences of real and fake pairs",
            "relativistic:Relativistic",
            _RELATIVISTIC,
        ),
        _loss("began", "Balanced reconstruction errors of an autoencoder", "began:BEGAN", _BEGAN),
    ]


def _loss(key: str, summary: str, target: str, paper: str) -> Spec:
    return Spec("loss", key, summary, f"ganzoo_plugins.losses.{target}", paper)
