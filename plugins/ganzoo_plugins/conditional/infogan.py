"""InfoGAN: codes of the generator's input that can be recovered from what it draws, learned without labels."""

from math import log, pi

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from ganzoo import (
    AdversarialTrainer,
    Batch,
    Discriminator,
    Generator,
    Image,
    Label,
    Latent,
    Scores,
    Signature,
    UserError,
    draw_latent,
    widened,
)
from ganzoo_plugins.conditional.cgan import conditional_generator
from ganzoo_plugins.networks.dcgan import DCGANConfig, DCGANDiscriminator, initialize

__all__ = ["InfoGAN", "InfoGANConfig", "RecoveringDiscriminator"]

Codes = tuple[Tensor, ...]
"""The categories, int64 [N] each, and last the continuous codes [N, D]; what there is none of is left out."""


class InfoGANConfig(DCGANConfig):
    """Settings of InfoGAN: those of ``dcgan``, and its codes."""

    latent_dim: int = Field(62, ge=1, description="size of the latent, the noise that is not recovered")
    categories: tuple[int, ...] = Field((10,), description="classes of each categorical code")
    continuous: int = Field(2, ge=0, description="how many continuous codes there are, uniform in -1 .. 1")
    category_weight: float = Field(1.0, ge=0, description="weight of the categories' mutual information")
    continuous_weight: float = Field(
        1.0, ge=0, description="weight of the continuous codes' mutual information; less if their variance is learned"
    )
    learned_variance: bool = Field(
        False, description="Q also predicts the variance of each continuous code; otherwise it is 1, as for digits"
    )
    recovery_width: int = Field(128, ge=1, description="width of Q's own layer")


class RecoveringDiscriminator(Discriminator):
    """Images [N, C, H, W] to scores [N], and with :meth:`recover` also to Q, the distribution of their codes.

    Q shares all layers with the score but the last, and has two of its own (arXiv:1606.03657, appendix C.1).
    """

    def __init__(self, config: InfoGANConfig, sample: Image, codes: tuple[Label | Latent, ...]) -> None:
        super().__init__(Signature((sample,), Scores()))
        batch_norm = config.batch_norm in ("both", "discriminator")
        *body, head = DCGANDiscriminator(config.width, batch_norm, sample).body
        assert isinstance(head, nn.Linear)
        self.body, self.head = nn.Sequential(*body), head
        self.codes = codes
        self.learned_variance = config.learned_variance
        # For each category its logits; for the continuous codes their means and, if learned, their log variances.
        self.sizes = [
            code.classes if isinstance(code, Label) else code.shape[0] * (1 + config.learned_variance) for code in codes
        ]
        self.recovery = nn.Sequential(
            nn.Linear(head.in_features, config.recovery_width, bias=not batch_norm),
            *([nn.BatchNorm1d(config.recovery_width)] if batch_norm else []),
            nn.LeakyReLU(0.2),
            nn.Linear(config.recovery_width, sum(self.sizes)),
        ).apply(initialize)

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(x)).squeeze(1)

    def recover(self, x: Tensor, codes: Codes) -> tuple[Tensor, list[Tensor]]:
        """Return scores [N], and for each code log Q(c | x) [N], in nats: the density of all continuous codes at once.

        Categories are softmax distributions, continuous codes independent Gaussians.
        """
        features = self.body(x)
        scores = widened(self.head(features)).squeeze(1)
        parts = widened(self.recovery(features)).split(self.sizes, 1)
        likelihoods = []
        for field, part, code in zip(self.codes, parts, codes, strict=True):
            if isinstance(field, Label):
                likelihoods.append(-cross_entropy(part, code, reduction="none"))
                continue
            mean, log_variance = part.chunk(2, 1) if self.learned_variance else (part, torch.zeros_like(part))
            error = (code - mean).square() / log_variance.exp()
            likelihoods.append(-(log(2 * pi) + log_variance + error).sum(1) / 2)
        return scores, likelihoods


class InfoGAN(AdversarialTrainer[InfoGANConfig]):
    """InfoGAN: Interpretable Representation Learning by Information Maximizing Generative Adversarial Nets
    (arXiv:1606.03657).

    Beside noise z the generator is given codes: categories (the input ``category``, or ``category1``, ``category2``
    ...) and continuous ones (the input ``c``). Labels of the data are not looked at. A head Q of the discriminator
    recovers the codes from what was drawn, and both networks also maximize the lower bound of the mutual information

        L_I = H(c) + E[log Q(c | G(z, c))] <= I(c; G(z, c))

    (eq. 5), each kind of code with a weight, lambda, of its own. As in the authors' code, the layers that Q shares with
    the discriminator learn from it too. Logged are the bounds, in nats; that of 10 categories is at most log 10 = 2.3.

    The networks are those of ``dcgan``, with its R1 in place of the discriminator's batch norm by default. The preset
    ``paper`` has batch norm in both, and the paper's codes, noise and rates for MNIST. Images must have sizes that
    ``dcgan`` takes.

    What the codes mean is found by looking: ``ganzoo sample RUN`` draws a column for each category, and
    ``ganzoo edit RUN --on c --direction c.0=1`` moves the first continuous code.
    """

    discriminator: RecoveringDiscriminator
    defaults = {
        "steps": 10_000,
        "batch_size": 64,
        "ema": 0.998,
        "lr_schedule": "linear",
        "lr_warmup": 100,
        "loss": {"name": "non_saturating"},
        "regularizer": {"r1": {"weight": 1.5, "interval": 4}},
        "model": {"batch_norm": "generator"},
        "data": {"name": "mnist5k"},
    }
    presets = {
        "paper": {
            "steps": 50_000,
            "batch_size": 128,
            "ema": 0.999,
            "lr_schedule": "constant",
            "lr_warmup": 0,
            "regularizer": {"r1": {"weight": 0.0}},
            "model": {
                "batch_norm": "both",
                "width": 64,
                "latent": "uniform",
                "optimizer": {"name": "adam", "lr": 1e-3, "betas": (0.5, 0.999)},
                "discriminator_lr": 2e-4,
            },
        }
    }

    def build_generator(self, sample: Image) -> Generator:
        self.codes = _codes(self.config)
        return conditional_generator(self.config, sample, self.codes)

    def build_discriminator(self, sample: Image) -> Discriminator:
        if self.config.pack > 1:
            raise UserError("infogan recovers the codes of every sample by itself, so it takes pack=1 alone")
        return RecoveringDiscriminator(self.config, sample, self.codes)

    def condition(self, batch: Batch) -> Codes:
        """Draw codes for as many samples as the batch has."""
        n = len(batch[self.data.sample.name])
        return tuple(
            torch.randint(code.classes, (n,), device=self.device)
            if isinstance(code, Label)
            else torch.rand(n, *code.shape, device=self.device) * 2 - 1
            for code in self.codes
        )

    def discriminator_loss(self, batch: Batch) -> dict[str, Tensor]:
        """Return what the discriminator minimizes: its adversarial loss, -lambda L_I and the weighted penalties."""
        real, fake, codes = self.pair(batch)
        seen, generated = self.augmented(real), self.augmented(fake)
        fake_scores, likelihoods = self.discriminator.recover(generated, codes)
        results = self.adversarial(self.discriminator(seen), fake_scores, real, fake, codes)
        information, bounds = self.information(likelihoods)
        return {**results, "loss": results["loss"] - information, **bounds}

    def generator_loss(self, batch: Batch) -> dict[str, Tensor]:
        """Return what the generator minimizes: its adversarial loss, -lambda L_I and the weighted penalties."""
        real, codes = batch[self.data.sample.name], self.condition(batch)
        fake = self.generator(draw_latent(self.generator, len(real), real.device), *codes)
        real_scores = self.discriminator(self.shown(real)) if self.loss.needs_real else None
        scores, likelihoods = self.discriminator.recover(self.shown(fake), codes)
        information, bounds = self.information(likelihoods)
        results = self.with_penalties(self.loss.generator(scores, real_scores) - information, batch)
        return {**results, **bounds}

    def information(self, likelihoods: list[Tensor]) -> tuple[Tensor, dict[str, Tensor]]:
        """Return lambda L_I, and the bounds by the names of the codes, from each code's log Q(c | x) [N]."""
        config, total, bounds = self.config, torch.zeros((), device=self.device), {}
        for code, likelihood in zip(self.codes, likelihoods, strict=True):
            category = isinstance(code, Label)
            # The entropy of the code itself: of a fair choice, and of uniform numbers in an interval of length 2.
            entropy = log(code.classes) if isinstance(code, Label) else code.shape[0] * log(2)
            bound = entropy + likelihood.mean()
            total = total + (config.category_weight if category else config.continuous_weight) * bound
            bounds[code.name] = bound.detach()
        return total, bounds


def _codes(config: InfoGANConfig) -> tuple[Label | Latent, ...]:
    """Return the generator's inputs beside the noise; raises UserError if there are none, or one is no choice."""
    if any(classes < 2 for classes in config.categories) or not (config.categories or config.continuous):
        raise UserError("infogan takes categories of at least 2 classes, or continuous codes, or both")
    # Their names are not the data's, so that nothing compares categories with its labels.
    several = len(config.categories) > 1
    categories = tuple(
        Label(classes, name=f"category{number}" if several else "category")
        for number, classes in enumerate(config.categories, 1)
    )
    continuous = (Latent((config.continuous,), "uniform", "c"),) if config.continuous else ()
    return (*categories, *continuous)
