"""Registers the bundled metrics."""

from collections.abc import Iterable

from ganzoo import Spec, hookimpl

_HERE = "ganzoo_plugins.metrics"


@hookimpl
def ganzoo_specs() -> Iterable[Spec]:
    """Return the specs of the metrics."""
    return [
        Spec(
            "metric",
            "modes",
            "Modes covered and the share of samples near one, for mixtures of Gaussians",
            f"{_HERE}.modes:Modes",
            "PacGAN: The power of two samples in generative adversarial networks, arXiv:1712.04086",
        ),
        Spec(
            "metric",
            "stacked_modes",
            "how many of the 1,000 modes of stacked digits are covered, and KL to the data's distribution",
            f"{_HERE}.stacked_modes:StackedModes",
            "PacGAN: The power of two samples in generative adversarial networks, arXiv:1712.04086",
        ),
        Spec(
            "metric",
            "classifier",
            "quality and diversity of samples by a classifier trained on the data set",
            f"{_HERE}.classifier:ClassifierScore",
            "Improved Techniques for Training GANs, arXiv:1606.03498",
        ),
        Spec(
            "metric",
            "caption_accuracy",
            "the share of facts named in captions that are drawn right, for combinations seen and held out",
            f"{_HERE}.caption_accuracy:CaptionAccuracy",
        ),
        Spec(
            "metric",
            "fid",
            "Fréchet distance of features, of InceptionV3 or the data set's classifier",
            f"{_HERE}.distances:FID",
            "GANs Trained by a Two Time-Scale Update Rule Converge to a Local Nash Equilibrium, arXiv:1706.08500",
        ),
        Spec(
            "metric",
            "kid",
            "kernel distance of features, unbiased for any number of samples",
            f"{_HERE}.distances:KID",
            "Demystifying MMD GANs, arXiv:1801.01401",
        ),
        Spec(
            "metric",
            "prdc",
            "precision, recall, density and coverage: quality and diversity separately, by neighbors in features",
            f"{_HERE}.distances:PRDC",
            "Reliable Fidelity and Diversity Metrics for Generative Models, arXiv:2002.09797",
        ),
        Spec(
            "metric",
            "inception_score",
            "Inception Score, by InceptionV3 or the data set's classifier",
            f"{_HERE}.distances:InceptionScore",
            "Improved Techniques for Training GANs, arXiv:1606.03498",
        ),
        Spec(
            "metric",
            "memorization",
            "whether samples are copies of training images, by nearest-neighbor distances",
            f"{_HERE}.memorization:Memorization",
            "A Non-Parametric Test to Detect Data-Copying in Generative Models, arXiv:2004.05675",
        ),
        Spec(
            "metric",
            "path_length",
            "perceptual path length: how much samples change along short steps between latents or styles",
            f"{_HERE}.path_length:PathLength",
            "A Style-Based Generator Architecture for Generative Adversarial Networks, arXiv:1812.04948",
        ),
        Spec(
            "metric",
            "label_accuracy",
            "how often a conditional model draws the requested class",
            f"{_HERE}.label_accuracy:LabelAccuracy",
        ),
        Spec(
            "metric",
            "translation",
            "distance of translations from their true counterparts, and how often the own one is the nearest",
            f"{_HERE}.translation:Translation",
        ),
    ]
