"""The auxiliary classifier GAN: the discriminator predicts the condition instead of being given it."""

from collections.abc import Sequence
from typing import Literal

from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import cross_entropy

from ganzoo import (
    AdversarialTrainer,
    Attributes,
    Batch,
    Discriminator,
    Generator,
    Image,
    Label,
    Scores,
    Signature,
    UserError,
    draw_latent,
    widened,
)
from ganzoo_plugins.conditional.cgan import SHAPES, conditional_generator
from ganzoo_plugins.networks.dcgan import DCGANConfig, DCGANDiscriminator

__all__ = ["AuxiliaryClassifierConfig", "AuxiliaryClassifierGAN", "ClassifyingDiscriminator"]


class AuxiliaryClassifierConfig(DCGANConfig):
    """Settings of the auxiliary classifier GAN: those of ``dcgan``, and the classifier's weight."""

    class_weight: float = Field(1.0, ge=0, description="weight of the classifier's loss beside the adversarial one")
    classifier: Literal["both", "real", "apart"] = Field(
        "both",
        description="what the classifier learns from. both: real and generated samples, as in the paper; real: real "
        "ones alone, as StarGAN's does (arXiv:1711.09020); apart: both, generated ones as classes of their own, as "
        "ADC-GAN's does (arXiv:2107.10060), for labels",
    )


class ClassifyingDiscriminator(Discriminator):
    """Images to scores, and with :meth:`heads` also to predictions of their conditions.

    One body, and a linear head each for the score, for every label (logits) and for every attribute vector (values).
    With ``apart`` a label's head has twice as many logits: of the classes, and of the same classes as generated.
    """

    def __init__(
        self, width: int, batch_norm: bool, sample: Image, conditions: Sequence[Label | Attributes], apart: bool = False
    ) -> None:
        super().__init__(Signature((sample,), Scores()))
        # The classifier shares all layers but the last with the score, as in the paper: what it learns about classes
        # shapes the features that real and fake are distinguished by.
        *body, head = DCGANDiscriminator(width, batch_norm, sample).body
        assert isinstance(head, nn.Linear)
        self.body = nn.Sequential(*body)
        self.head = head
        self.classifiers = nn.ModuleList(
            nn.Linear(head.in_features, field.classes * (1 + apart) if isinstance(field, Label) else field.dim)
            for field in conditions
        )

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.body(x)).squeeze(1)

    def heads(self, x: Tensor) -> tuple[Tensor, tuple[Tensor, ...]]:
        """Map [N, C, H, W] to scores [N] and, for each condition, to logits [N, classes] or attributes [N, dim]."""
        features = self.body(x)
        guess = tuple(widened(classifier(features)) for classifier in self.classifiers)
        return widened(self.head(features)).squeeze(1), guess


class AuxiliaryClassifierGAN(AdversarialTrainer[AuxiliaryClassifierConfig]):
    """The discriminator classifies samples, and the generator is trained to be classified correctly (Conditional Image
    Synthesis with Auxiliary Classifier GANs, arXiv:1610.09585, section 3).

    With L_S the log-likelihood of the source, here whatever loss is chosen, and L_C that of the condition, the
    discriminator maximizes L_S + L_C, and the generator maximizes L_C - L_S. L_C is taken over real and generated
    samples, or over real ones only if ``classifier`` is ``"real"``. With ``"apart"`` (Conditional GANs with Auxiliary
    Discriminative Classifier, arXiv:2107.10060) the classifier distinguishes the classes c+ of real samples from the
    classes c- of generated ones, and the generator maximizes log C(c+) - log C(c-). A classifier that knows real
    samples only may accept a generated sample of another class that has the features it looks for; this one does not.
    ``class_weight`` multiplies L_C. Labels are modeled as independent of each other given the sample; attributes as a
    Gaussian of unit variance, so that half their squared error takes the place of the cross entropy. The networks are
    those of ``dcgan``, for images of the sizes that it takes.

    The preset ``shapes`` draws shapes of any kind, hue, size, place and rotation by their attributes, and
    ``shape_classes`` by their kind and hue alone.
    """

    conditional = True
    discriminator: ClassifyingDiscriminator
    defaults = {
        "steps": 14_000,
        "batch_size": 64,
        "ema": 0.998,
        "lr_schedule": "linear",
        "lr_warmup": 100,
        "loss": {"name": "non_saturating"},
        "data": {"name": "mnist5k"},
    }
    presets = {
        "shapes": {**SHAPES, "model": {**SHAPES["model"], "class_weight": 2.0, "classifier": "real"}},
        "shape_classes": {
            **SHAPES,
            "steps": 20_000,
            "data": {**SHAPES["data"], "condition": "classes"},
            "model": {**SHAPES["model"], "classifier": "apart"},
        },
    }

    def build_generator(self, sample: Image) -> Generator:
        return conditional_generator(self.config, sample, self.conditions)

    def build_discriminator(self, sample: Image) -> Discriminator:
        if self.config.pack > 1:
            raise UserError("acgan classifies every sample by itself, so it takes pack=1 alone")
        config = self.config
        batch_norm = config.batch_norm in ("both", "discriminator")
        if self.apart and not all(isinstance(field, Label) for field in self.conditions):
            raise UserError('model.classifier="apart" is for labels, and this data has attributes; take "real"')
        return ClassifyingDiscriminator(config.width, batch_norm, sample, self.conditions, self.apart)

    @property
    def apart(self) -> bool:
        """Whether generated samples are classes of their own."""
        return self.config.classifier == "apart"

    def discriminator_loss(self, batch: Batch) -> dict[str, Tensor]:
        """Return what the discriminator minimizes: -L_S - L_C and the weighted penalties."""
        # Real and fake samples of a row have the same condition, so L_C compares like with like.
        real, fake, condition = self.pair(batch)
        real_scores, real_guess = self.discriminator.heads(self.augmented(real))
        fake_scores, fake_guess = self.discriminator.heads(self.augmented(fake))
        results = self.adversarial(real_scores, fake_scores, real, fake, condition)
        on_real = self.classification_loss(real_guess, condition)
        on_fake = self.classification_loss(fake_guess, self.generated(condition) if self.apart else condition)
        classes = on_real if self.config.classifier == "real" else on_real + on_fake
        results["loss"] = results["loss"] + self.config.class_weight * classes
        return {**results, "class_real": on_real.detach(), "class_fake": on_fake.detach()}

    def generator_loss(self, batch: Batch) -> dict[str, Tensor]:
        """Return what the generator minimizes: its adversarial loss, -L_C and the weighted penalties."""
        real, condition = batch[self.data.sample.name], self.condition(batch)
        fake = self.generator(draw_latent(self.generator, len(real), real.device), *condition)
        real_scores = self.score(self.shown(real), condition) if self.loss.needs_real else None
        scores, guess = self.discriminator.heads(self.shown(fake))
        classes = self.classification_loss(guess, condition)
        if self.apart:
            # Towards the real version of the class and away from the generated one.
            classes = classes - self.classification_loss(guess, self.generated(condition))
        loss = self.loss.generator(scores, real_scores) + self.config.class_weight * classes
        return self.with_penalties(loss, batch)

    def generated(self, condition: tuple[Tensor, ...]) -> tuple[Tensor, ...]:
        """Return the class indices of generated samples, which follow those of the real classes."""
        return tuple(
            part + field.classes if isinstance(field, Label) else part
            for field, part in zip(self.conditions, condition, strict=True)
        )

    def classification_loss(self, guess: tuple[Tensor, ...], condition: tuple[Tensor, ...]) -> Tensor:
        """Return -L_C: the sum over conditions of the mean cross entropy or half the mean squared error."""
        terms = [
            cross_entropy(each, truth) if isinstance(field, Label) else (each - truth).square().sum(1).mean() / 2
            for field, each, truth in zip(self.conditions, guess, condition, strict=True)
        ]
        return sum(terms[1:], terms[0])
