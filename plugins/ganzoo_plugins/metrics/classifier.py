"""What the data set's own classifier says about samples: how clear each one is, and how varied they are."""

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from pydantic import Field
from torch import Tensor

from ganzoo import Dataset, Metric, MetricConfig
from ganzoo_plugins.metrics.evaluator import Evaluator, EvaluatorConfig, gather, to_uint8

__all__ = ["ClassifierScore", "scores"]


class ClassifierScore(Metric):
    """The two things inside the Inception Score of Salimans et al. (arXiv:1606.03498), by the data set's classifier.

    With H in nats, ``quality`` is exp(-mean H(y|x)), 1 where the classifier is certain about every sample;
    ``diversity`` is exp(H(y)) for the mean p(y) of p(y|x), the number of classes that are drawn in effect; and
    ``inception_score`` is their product, exp(H(y) - mean H(y|x)). ``confident`` is the share of samples whose top class
    has a probability above 0.9. The classifier is trained on nine tenths of the data set (:class:`Evaluator`), its
    first label; the reference is what the last tenth gets, or ``samples`` of it.
    """

    default_for = ("image",)
    better: ClassVar = {"": "higher"}

    class Config(MetricConfig):
        """The settings of :class:`ClassifierScore`."""

        classifier: EvaluatorConfig = Field(EvaluatorConfig(), description="the classifier's training")

    def __init__(self, config: Config, dataset: Dataset) -> None:
        super().__init__(config, dataset)
        self.evaluator = Evaluator(dataset, config.classifier)

    def __call__(self, samples: Tensor, condition: Mapping[str, Tensor]) -> dict[str, float]:
        """Return ``inception_score``, ``quality``, ``diversity`` and ``confident`` of samples [N, C, H, W]."""
        return scores(self.evaluator.extract(to_uint8(samples)).logits)

    def reference(self) -> dict[str, float]:
        """Return the figures of the tenth that the classifier has not learned."""
        rows = self.evaluator.held_out[: self.config.samples]
        (images,) = gather(self.dataset, rows, self.dataset.spec.sample.name)
        return scores(self.evaluator.extract(images).logits)

    def prepare(self, *, quiet: bool = False) -> None:
        """Load the classifier, or train it."""
        self.evaluator.prepare(quiet=quiet)

    def metadata(self) -> dict[str, Any]:
        """Return which classifier it is and how often it is right about real images."""
        return self.evaluator.metadata()

    def warnings(self) -> Sequence[str]:
        """Return why the classifier is a poor evaluator, if it is."""
        return self.evaluator.warnings()


def scores(logits: Tensor) -> dict[str, float]:
    """Return the figures of :class:`ClassifierScore` for logits [N, classes]."""
    log_p = logits.double().log_softmax(dim=1)
    p = log_p.exp()
    entropy = -(p * log_p).sum(dim=1).mean()
    spread = p.mean(dim=0).clamp(min=1e-300)
    spread = -(spread * spread.log()).sum()
    return {
        "inception_score": float((spread - entropy).exp()),
        "quality": float((-entropy).exp()),
        "diversity": float(spread.exp()),
        "confident": float((p.max(dim=1).values > 0.9).double().mean()),
    }
