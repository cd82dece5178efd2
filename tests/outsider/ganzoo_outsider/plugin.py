"""Says what this distribution offers. It is imported for every command, so it imports nothing heavy."""

from collections.abc import Iterable

from ganzoo import Spec, hookimpl

HOOK_API = 1

_LSGAN = "Least Squares Generative Adversarial Networks, arXiv:1611.04076"
_BEGAN = "BEGAN: Boundary Equilibrium Generative Adversarial Networks, arXiv:1703.10717"


@hookimpl
def ganzoo_specs() -> Iterable[Spec]:
    """Return a spec for each loss, model, data set ... that is offered."""
    return [
        Spec("loss", "pearson", "Least squares for Pearson's chi-squared", "ganzoo_outsider.pearson:Pearson", _LSGAN),
        Spec("regularizer", "l2", "Penalizes the discriminator's squared weights", "ganzoo_outsider.l2:L2"),
        Spec("model", "res_mlp", "Residual MLP for images or points", "ganzoo_outsider.res_mlp:ResidualGAN"),
        Spec("model", "began_mlp", "BEGAN with multi-layer perceptrons", "ganzoo_outsider.began_mlp:Began", _BEGAN),
        Spec("field", "cloud", "Point clouds in a cube", "ganzoo_outsider.cloud:Cloud", defaults={"points": 32}),
        Spec("dataset", "spheres", "Point clouds on spheres", "ganzoo_outsider.cloud_gan:Spheres"),
        Spec("model", "cloud_gan", "Point clouds against a PointNet", "ganzoo_outsider.cloud_gan:CloudGAN"),
        Spec("format", "safetensors", "The weights alone, as float32", "ganzoo_outsider.weights:Weights"),
        Spec("command", "average", "Draw the mean of a model's samples", "ganzoo_outsider.average:average"),
        Spec(
            "model",
            "res_mlp_points",
            "The same, with settings for points of the plane",
            "ganzoo_outsider.res_mlp:ResidualGAN",
            defaults={"data": {"name": "gaussians"}, "loss": {"name": "wgan_gp"}, "model": {"latent_dim": 8}},
        ),
    ]
