"""Registers the bundled regularizers."""

from collections.abc import Iterable

from ganzoo import Spec, hookimpl

_WGAN = "Wasserstein GAN, arXiv:1701.07875"
_WGAN_GP = "Improved Training of Wasserstein GANs, arXiv:1704.00028"
_R1R2 = "Which Training Methods for GANs do actually Converge?, arXiv:1801.04406"
_DRAGAN = "On Convergence and Stability of GANs, arXiv:1705.07215"
_CONSISTENCY = "Consistency Regularization for GANs, arXiv:1910.12027; bCR, arXiv:2002.04724"
_LIPSCHITZ = "Adversarial Lipschitz Regularization, arXiv:1907.05681"
_BIGGAN = "Large Scale GAN Training for High Fidelity Natural Image Synthesis, arXiv:1809.11096"
_MODE_SEEKING = "Mode Seeking GANs for Diverse Image Synthesis, arXiv:1903.05628"
_STYLEGAN2 = "Analyzing and Improving the Image Quality of StyleGAN, arXiv:1912.04958"


@hookimpl
def ganzoo_specs() -> Iterable[Spec]:
    """Return the specs of the regularizers."""
    return [
        _regularizer(
            "gradient_penalty",
            "Pulls the critic's gradient norm to 1 between real and fake",
            "gradient_penalty:GradientPenalty",
            _WGAN_GP,
        ),
        _regularizer("dragan", "Pulls the gradient norm to 1 around real samples", "gradient_penalty:DRAGAN", _DRAGAN),
        _regularizer("r1", "Penalizes the gradient norm at real samples", "zero_centered:R1", _R1R2),
        _regularizer("r2", "Penalizes the gradient norm at fake samples", "zero_centered:R2", _R1R2),
        _regularizer(
            "consistency",
            "Penalizes score changes under small changes of a sample",
            "consistency:Consistency",
            _CONSISTENCY,
        ),
        _regularizer(
            "virtual_adversarial",
            "Penalizes the steepest nearby change of the score",
            "virtual_adversarial:VirtualAdversarial",
            _LIPSCHITZ,
        ),
        _regularizer("weight_clip", "Clips the critic's weights to a fixed range", "weight_clip:WeightClip", _WGAN),
        _regularizer(
            "path_length",
            "For the generator: equal steps in z change samples equally",
            "path_length:PathLength",
            _STYLEGAN2,
        ),
        _regularizer(
            "mode_seeking",
            "For the generator: different latents give different samples",
            "mode_seeking:ModeSeeking",
            _MODE_SEEKING,
        ),
        _regularizer(
            "orthogonal",
            "For the generator's weights: filters of a layer perpendicular to each other",
            "orthogonal:Orthogonal",
            _BIGGAN,
        ),
        _regularizer(
            "orthogonal_discriminator",
            "The same for the discriminator's weights",
            "orthogonal:OrthogonalDiscriminator",
            _BIGGAN,
        ),
    ]


def _regularizer(key: str, summary: str, target: str, paper: str) -> Spec:
    return Spec("regularizer", key, summary, f"ganzoo_plugins.regularizers.{target}", paper)
