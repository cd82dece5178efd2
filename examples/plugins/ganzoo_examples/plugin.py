"""Says what this distribution offers. It is imported for every command, so it imports nothing heavy."""

from collections.abc import Iterable

from ganzoo import Spec, hookimpl

HOOK_API = 1

_RASGAN = "The relativistic discriminator, arXiv:1807.00734"
_D2GAN = "Dual Discriminator Generative Adversarial Nets, arXiv:1709.03831"
_INFOGAN = "InfoGAN, arXiv:1606.03657"
_PROGRESSIVE = "Progressive Growing of GANs, arXiv:1710.10196"
_LION = "Symbolic Discovery of Optimization Algorithms, arXiv:2302.06675"
_SGDR = "SGDR: Stochastic Gradient Descent with Warm Restarts, arXiv:1608.03983"

_OFFERED = (
    (
        "loss",
        "relativistic_average",
        "Scores less the other mean",
        "relativistic_average:RelativisticAverage",
        _RASGAN,
    ),
    ("regularizer", "l2", "Penalizes the discriminator's squared weights", "l2:L2"),
    ("model", "d2gan", "Two discriminators, for images or points", "d2gan:D2GAN", _D2GAN),
    ("model", "infogan_fc", "Kinds and codes found without labels", "infogan_fc:InfoGAN", _INFOGAN),
    ("model", "progressive", "Grows from 4 x 4 pixels to 64 x 64", "progressive:Progressive", _PROGRESSIVE),
    ("model", "wave_gan", "Convolutions along time, for series", "wave_gan:WaveGAN"),
    ("model", "word_gan", "Tokens with a straight-through gradient", "word_gan:WordGAN"),
    ("model", "cloud_gan", "Point clouds against a PointNet", "cloud_gan:CloudGAN"),
    ("augmentation", "noise", "Gaussian noise, another for each image", "noise:Noise"),
    ("optimizer", "lion", "Lion: steps by the sign", "lion:LionOptimizer", _LION),
    ("schedule", "restarts", "Half a cosine, several times", "restarts:Restarts", _SGDR),
    ("dataset", "marks", "Squares and disks, small and large", "marks:Marks"),
    ("dataset", "tones", "Sine waves of two channels", "signals:Waves"),
    ("dataset", "words", "The numbers from one to nine in letters", "signals:Words"),
    ("dataset", "spheres", "Point clouds on spheres", "cloud_gan:Spheres"),
    ("metric", "pair_distance", "How far samples are from each other", "pair_distance:PairDistance"),
    ("format", "safetensors", "The weights alone, as float32", "weights:Weights"),
    ("sink", "idx", "One array of float32, as MNIST's files are", "idx:idx"),
    ("importer", "one_hidden", "Generators of one hidden layer", "one_hidden:one_hidden"),
    ("tracker", "journal", "Plain words in journal.txt", "journal:Journal"),
    ("command", "average", "Draw the mean of a model's samples", "average:average"),
)


@hookimpl
def ganzoo_specs() -> Iterable[Spec]:
    """Return a spec for each loss, model, data set ... that is offered."""
    for kind, key, summary, target, *paper in _OFFERED:
        yield Spec(kind, key, summary, f"ganzoo_examples.{target}", *paper)
    yield Spec("field", "cloud", "Point clouds in a cube", "ganzoo_examples.cloud:Cloud", defaults={"points": 32})
    # A model that differs from another one in its settings alone is a spec, and no file.
    grown = {"data": {"name": "digits"}, "steps": 2_000, "model": {"fade": 500}}
    summary = "The same, for 8x8 digits"
    yield Spec("model", "progressive_digits", summary, "ganzoo_examples.progressive:Progressive", _PROGRESSIVE, grown)
