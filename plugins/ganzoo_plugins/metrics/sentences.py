"""Metrics of texts and other series of tokens: by a grammar, by an oracle, by n-grams, by what is copied."""

from abc import abstractmethod
from collections import Counter
from collections.abc import Mapping, Sequence
from functools import cached_property
from typing import Any, ClassVar, Protocol, runtime_checkable

import torch
from pydantic import Field
from torch import Tensor

from ganzoo import Dataset, Metric, MetricConfig, Tokens, UserError
from ganzoo_plugins.metrics.evaluator import gather

__all__ = ["Bleu", "Copies", "GrammarScore", "HasGrammar", "HasOracle", "OracleNLL", "TokenMetric"]


def require_tokens(dataset: Dataset) -> Tokens:
    """Return the field of the tokens; raises :class:`~ganzoo.UserError` for other data."""
    field = dataset.spec.sample
    if not isinstance(field, Tokens):
        raise UserError(f"this metric evaluates tokens, and {dataset.spec.name} has {field.kind}; take another")
    return field


class TokenMetric(Metric):
    """A metric of tokens, int64 [N, L], whose reference is what as many held-out samples of the data get."""

    def __init__(self, config: MetricConfig, dataset: Dataset) -> None:
        super().__init__(config, dataset)
        self.field = require_tokens(dataset)

    def __call__(self, samples: Tensor, condition: Mapping[str, Tensor]) -> dict[str, float]:
        """Return the figures of samples, int64 [N, L]."""
        return self.figures(self.ended(samples))

    def reference(self) -> dict[str, float]:
        """Return the figures of as many held-out samples."""
        return self.figures(self.ended(self.real(self.config.samples)))

    @abstractmethod
    def figures(self, tokens: Tensor) -> dict[str, float]:
        """Return the figures of tokens, int64 [N, L], with nothing but padding behind the end of each."""

    def real(self, n: int) -> Tensor:
        """Return up to ``n`` samples that the data set holds out, int64 [N, L]."""
        return self.dataset.examples(n)[self.field.name]

    def ended(self, tokens: Tensor) -> Tensor:
        """Return tokens with 0 in place of what stands behind the end of each sample."""
        tokens = tokens.long()
        return tokens.masked_fill((tokens == 0).cumsum(dim=1) > 0, 0) if self.field.padded else tokens

    def rows(self, tokens: Tensor) -> list[list[int]]:
        """Return the tokens of each sample, without the padding."""
        found = tokens.tolist()
        return [row[: row.index(0)] if 0 in row else row for row in found] if self.field.padded else found


class _Grammar(Protocol):
    def probability(self, tokens: Tensor) -> Tensor: ...  # float64 [N] of int64 [N, L]; 0 of what is no sentence


@runtime_checkable
class HasGrammar(Protocol):
    """What a data set has that the metric ``grammar`` can be computed on: probabilities of its sentences."""

    grammar: _Grammar


class GrammarScore(TokenMetric):
    """What a grammar says of samples, for data sets that are drawn from one.

    ``accepted`` is the share of samples that are sentences; ``unique`` the share of different ones among all samples,
    which is to be as large as that of as many real ones; ``kl`` is KL(q || p) in nats, for the distribution q of the
    accepted samples and the grammar's own probabilities p, which are exact. Since q is counted, ``kl`` is above 0 of
    real samples too, and the more so the more sentences there are: it is held against the reference of as many
    samples. It is left out where no sample is accepted.
    """

    better: ClassVar = {"accepted": "higher", "unique": "as real", "kl": "as real"}

    def __init__(self, config: MetricConfig, dataset: Dataset) -> None:
        super().__init__(config, dataset)
        if not isinstance(dataset, HasGrammar):
            raise UserError(f"it needs data that is drawn from a grammar, which {dataset.spec.name} is not")
        self.grammar = dataset.grammar

    def figures(self, tokens: Tensor) -> dict[str, float]:
        """Return ``accepted``, ``unique`` and ``kl``."""
        kinds, counts = tokens.unique(dim=0, return_counts=True)
        p = self.grammar.probability(kinds)
        right = p > 0
        found = {"accepted": float(counts[right].sum()) / len(tokens), "unique": len(kinds) / len(tokens)}
        if bool(right.any()):
            q = counts[right].double() / counts[right].sum()
            found["kl"] = float((q * (q / p[right]).log()).sum())
        return found


class _Oracle(Protocol):
    def nll(self, tokens: Tensor) -> Tensor: ...  # float32 [N] of int64 [N, L], in nats a token


@runtime_checkable
class HasOracle(Protocol):
    """What a data set has that the metric ``nll_oracle`` can be computed on: the model that has drawn it."""

    oracle: _Oracle


class OracleNLL(TokenMetric):
    """NLL-oracle of SeqGAN (arXiv:1609.05473): -log p of samples by the model that has drawn the data, in nats a token.

    It is the mean over samples and tokens, and says nothing about variety: a generator that repeats the oracle's one
    likeliest sequence is below the reference. ``unique`` and the negative log-likelihood of test data stand beside it.
    """

    better: ClassVar = {"nll": "as real", "unique": "as real"}

    def __init__(self, config: MetricConfig, dataset: Dataset) -> None:
        super().__init__(config, dataset)
        if not isinstance(dataset, HasOracle):
            raise UserError(f"it needs data that a known model has drawn, which {dataset.spec.name} is not")
        self.oracle = dataset.oracle

    def figures(self, tokens: Tensor) -> dict[str, float]:
        """Return ``nll`` and ``unique``."""
        unique = len(tokens.unique(dim=0)) / len(tokens)
        return {"nll": float(self.oracle.nll(tokens).double().mean()), "unique": unique}


class Bleu(TokenMetric):
    """BLEU against test data, and Self-BLEU of samples among each other, by sacrebleu (Texygen, arXiv:1802.01886).

    ``bleu_2`` .. ``bleu_5`` are means over samples, in 0..1: how many of a sample's n-grams of tokens stand in any
    sentence of the test data. High ones mean quality, not variety. ``self_bleu_2`` .. take the other samples for the
    test data: high ones mean that samples are alike. One is not to be read without the other, nor without the reference
    beside it, which is what training data gets. Where a sample has no n-gram in common, a tenth of one is counted, as
    in Texygen (method 1 of Chen and Cherry). Figures of other vocabularies, of other tokens that is, are others.
    """

    default_for = ("tokens",)
    better: ClassVar = {"": "as real"}
    _orders = (2, 3, 4, 5)

    class Config(MetricConfig):
        """The settings of :class:`Bleu`."""

        samples: int = Field(500, ge=2, le=100_000, description="how many samples are drawn for it, and test sentences")

    def __init__(self, config: Config, dataset: Dataset) -> None:
        super().__init__(config, dataset)
        try:
            import sacrebleu  # noqa: F401 - slow to import where a figure is asked for
        except ImportError:
            raise UserError("it needs the package sacrebleu: pip install torch-ganzoo[text]") from None

    def figures(self, tokens: Tensor) -> dict[str, float]:
        """Return ``bleu_2`` .. ``bleu_5`` and ``self_bleu_2`` .. ``self_bleu_5``."""
        samples, tests = self._count(tokens), self._tests
        found = _mean_bleu(samples, _Most(tests), self._orders)
        alike = _mean_bleu(samples, _Most(samples), self._orders, among=True)
        return {f"bleu_{n}": found[n] for n in self._orders} | {f"self_bleu_{n}": alike[n] for n in self._orders}

    def reference(self) -> dict[str, float]:
        """Return the figures of as many sentences of the training data."""
        rows = torch.linspace(0, len(self.dataset) - 1, min(self.config.samples, len(self.dataset))).long()
        (tokens,) = gather(self.dataset, rows, self.field.name)
        return self.figures(self.ended(tokens))

    def metadata(self) -> dict[str, Any]:
        """Return sacrebleu's version, and how many test sentences there are."""
        import sacrebleu

        return {"evaluator": f"sacrebleu {sacrebleu.__version__}", "compared": len(self._tests)}

    @cached_property
    def _tests(self) -> "list[tuple[Counter[Any], int]]":
        return self._count(self.ended(self.real(self.config.samples)))

    def _count(self, tokens: Tensor) -> "list[tuple[Counter[Any], int]]":
        """Return the n-grams of each sentence with how often they are there, and its length."""
        from sacrebleu.metrics.helpers import extract_all_word_ngrams

        return [extract_all_word_ngrams(" ".join(map(str, row)), 1, max(self._orders)) for row in self.rows(tokens)]


class _Most:
    """References of BLEU as one: of each n-gram the two largest counts in any sentence, and the sentences' lengths."""

    def __init__(self, sentences: "Sequence[tuple[Counter[Any], int]]") -> None:
        self.first: Counter[Any] = Counter()
        self.second: Counter[Any] = Counter()
        for counts, _ in sentences:
            for gram, count in counts.items():
                if count > self.first[gram]:
                    self.first[gram], self.second[gram] = count, self.first[gram]
                elif count > self.second[gram]:
                    self.second[gram] = count
        self.lengths = Counter(length for _, length in sentences)

    def clipped(self, gram: Any, count: int, among: bool) -> int:
        """Return how many of an n-gram's occurrences the references have; ``among``: the sentence is one of them."""
        most = self.second[gram] if among and count == self.first[gram] else self.first[gram]
        return min(count, most)

    def nearest(self, length: int, among: bool) -> int:
        """Return the length of a reference that is nearest to this one, the shorter if two are."""
        others = self.lengths - Counter([length]) if among else self.lengths
        return min(others or self.lengths, key=lambda other: (abs(other - length), other))


def _mean_bleu(
    sentences: "Sequence[tuple[Counter[Any], int]]", references: _Most, orders: Sequence[int], *, among: bool = False
) -> dict[int, float]:
    """Return the mean sentence BLEU of each order; empty sentences have none, and count as 0."""
    from sacrebleu.metrics.bleu import BLEU

    total = dict.fromkeys(orders, 0.0)
    for counts, length in sentences:
        if not length:
            continue
        right, of = [0] * max(orders), [0] * max(orders)
        for gram, count in counts.items():
            of[len(gram) - 1] += count
            right[len(gram) - 1] += references.clipped(gram, count, among)
        near = references.nearest(length, among)
        for n in orders:  # of a sentence of two tokens, the orders that it has
            score = BLEU.compute_bleu(
                right[:n], of[:n], length, near, "floor", 0.1, effective_order=True, max_ngram_order=n
            )
            total[n] += score.score / 100
    return {n: value / len(sentences) for n, value in total.items()}


class Copies(TokenMetric):
    """Whether samples of tokens are copies of training data.

    ``copies`` is the share of samples that are in the training data as they are; ``longest`` the mean over samples of
    the longest run of their tokens that stands in a row anywhere in it, as a share of the sample's length. Real
    sentences repeat each other too, so both are held against the reference, what held-out samples get: above it,
    samples are copied.
    """

    default_for = ("tokens",)
    better: ClassVar = {"copies": "as real", "longest": "as real"}

    class Config(MetricConfig):
        """The settings of :class:`Copies`."""

        compared: int = Field(50_000, ge=1, description="samples of training data that are looked at, at most")

    config: Config

    def figures(self, tokens: Tensor) -> dict[str, float]:
        """Return ``copies`` and ``longest``."""
        samples, training = tokens[: self.config.samples], self._training
        # Runs of n tokens are numbered, equal ones alike, from the numbers of runs of n - 1 and the token behind; the
        # padding ends a run. A run that is not in the training data is in no longer one that is.
        both = torch.cat([samples, training])
        whole = both != 0 if self.field.padded else torch.ones_like(both, dtype=torch.bool)
        inside, runs, longest = whole, both, torch.zeros(len(samples), dtype=torch.int64)
        for n in range(1, both.shape[1] + 1):
            if n > 1:
                inside = inside[:, :-1] & whole[:, n - 1 :]
                runs = runs.unique(return_inverse=True)[1][:, :-1] * self.field.vocabulary + both[:, n - 1 :]
            (here, there), (mine, theirs) = (part.split([len(samples), len(training)]) for part in (runs, inside))
            found = (torch.isin(here, there[theirs]) & mine).any(dim=1)
            longest[found] = n
            if not bool(found.any()):
                break
        lengths = whole[: len(samples)].sum(dim=1)
        rows = both.unique(dim=0, return_inverse=True)[1]
        copies = torch.isin(rows[: len(samples)], rows[len(samples) :]).double().mean()
        return {"copies": float(copies), "longest": float((longest / lengths.clamp(min=1)).double().mean())}

    def metadata(self) -> dict[str, Any]:
        """Return how many samples of the training data are looked at."""
        return {"compared": len(self._training)}

    @cached_property
    def _training(self) -> Tensor:
        # Random but fixed rows, as for images.
        order = torch.randperm(len(self.dataset), generator=torch.Generator().manual_seed(0))
        (tokens,) = gather(self.dataset, order[: self.config.compared], self.field.name)
        return self.ended(tokens)
