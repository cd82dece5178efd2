"""How likely a language model finds real sentences that it has not seen."""

from collections.abc import Mapping
from typing import ClassVar

import torch
from torch import Tensor

from ganzoo import Metric, MetricConfig, Sampler, Signature, Tokens, UserError
from ganzoo_plugins.networks.lstm import LanguageModel

__all__ = ["NLLTest"]


class NLLTest(Metric[MetricConfig]):
    """The negative log-likelihood of real sentences under the model, in nats a token: low is diverse.

    Texygen's NLL-test (arXiv:1802.01886): a model that draws few good sentences has a high one, which the likelihood of
    its samples under the oracle does not show. The sentences are those that the data set holds out. Tokens count up to
    the one that ends a sentence, that one included. The temperature is 1, whatever samples are drawn with. It is asked
    of a run in torch: what is exported draws samples, and says nothing of others.
    """

    default_for = ("tokens",)
    better: ClassVar = {"nats": "lower"}

    def check(self, signature: Signature) -> None:
        """Refuse what draws no tokens."""
        if not isinstance(signature.output, Tokens):
            raise UserError("it is the likelihood of sentences, and this model draws no tokens")

    def __call__(self, samples: Tensor, condition: Mapping[str, Tensor]) -> dict[str, float]:
        """Return how many sentences are looked at: samples do not say how likely others are."""
        return {"sentences": float(len(self._sentences()))}

    def _sentences(self) -> Tensor:
        return self.dataset.examples(self.config.samples)[self.dataset.spec.sample.name]

    @torch.no_grad()
    def probe(self, sampler: Sampler, seed: int) -> dict[str, float]:
        """Return the figure, or nothing of a model that is no language model or whose network is not in torch."""
        network = getattr(sampler, "network", None)
        if not isinstance(network, LanguageModel):
            return {}
        tokens = self._sentences().to(network.head.weight.device)
        parts = [(network.log_likelihood(part).sum(), network.counted(part).sum()) for part in tokens.split(64)]
        total, count = (torch.stack(each).double().sum() for each in zip(*parts, strict=True))
        return {"nats": float(-total / count)}
