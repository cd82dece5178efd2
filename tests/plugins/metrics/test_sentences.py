"""Metrics of tokens, held against other ways to compute them."""

import math
import sys
from typing import Any

import numpy as np
import pytest
import torch

from ganzoo import DataSpec, MetricConfig, TensorDataset, Tokens, UserError
from ganzoo_plugins.datasets.grammar import GrammarConfig, Sampled
from ganzoo_plugins.datasets.oracle import Oracle, OracleConfig
from ganzoo_plugins.datasets.sentences import Sentences
from ganzoo_plugins.metrics.sentences import Bleu, Copies, GrammarScore, OracleNLL

RNG = torch.Generator().manual_seed(0)


def sentences(n: int, length: int = 8, vocabulary: int = 6) -> torch.Tensor:
    """Return rows that end with padding."""
    rows = torch.randint(1, vocabulary, (n, length), generator=RNG)
    ends = torch.randint(1, length + 1, (n, 1), generator=RNG)
    return rows.masked_fill(torch.arange(length) >= ends, 0)


def data(rows: torch.Tensor, held_out: torch.Tensor, vocabulary: int = 6) -> Sentences:
    texts = ("", *(f" {index}" for index in range(1, vocabulary)))
    return Sentences("toy", Tokens(rows.shape[1], vocabulary, texts), rows, held_out)


def test_grammar_figures_by_hand() -> None:
    dataset = Sampled(GrammarConfig(grammar="arithmetic", length=5, size=200, held_out=100))
    metric = GrammarScore(MetricConfig(samples=100), dataset)
    number = dataset.grammar.number
    rows = torch.zeros(4, 5, dtype=torch.int64)
    for row, text in zip(rows, ["x", "x", "x+x", "x+"], strict=True):
        row[: len(text)] = torch.tensor([number[each] for each in text])
    rows[0, 2:] = 3  # behind the end: it counts for nothing
    found = metric(rows, {})
    fits = 0.2 * (1 + 0.8 + 0.64)
    expected = 2 / 3 * math.log(2 / 3 / (0.2 / fits)) + 1 / 3 * math.log(1 / 3 / (0.2 * 0.2 / fits))
    assert found == pytest.approx({"accepted": 0.75, "unique": 0.75, "kl": expected})
    assert metric(torch.zeros(2, 5), {}) == {"accepted": 0.0, "unique": 0.5}
    real = metric.reference()
    assert real["accepted"] == 1
    assert 0 < real["kl"] < 0.3
    with pytest.raises(UserError, match="drawn from a grammar"):
        GrammarScore(MetricConfig(), data(sentences(9), sentences(9)))


def test_nll_of_the_oracle() -> None:
    dataset = Oracle(OracleConfig(vocabulary=40, length=5, embedding=4, hidden=4, size=300, held_out=200))
    metric = OracleNLL(MetricConfig(samples=200), dataset)
    real, noise = metric.reference(), metric(torch.randint(40, (200, 5), generator=RNG), {})
    assert real["nll"] == pytest.approx(float(dataset.oracle.nll(dataset.held_out).mean()), rel=1e-5)
    assert noise["nll"] > real["nll"] + 1
    assert metric(dataset.held_out[:1].repeat(4, 1), {})["unique"] == 0.25
    with pytest.raises(UserError, match="known model"):
        OracleNLL(MetricConfig(), data(sentences(9), sentences(9)))


def test_bleu_is_that_of_sacrebleu() -> None:
    sacrebleu = pytest.importorskip("sacrebleu.metrics")
    tests, samples = sentences(12), sentences(10)
    metric = Bleu(Bleu.Config(samples=12), data(sentences(20), tests))
    found = metric(samples, {})

    def text(row: torch.Tensor) -> str:
        return " ".join(str(index) for index in row.tolist() if index)

    for n in (2, 3, 4, 5):
        bleu = sacrebleu.BLEU(
            tokenize="none", smooth_method="floor", smooth_value=0.1, max_ngram_order=n, effective_order=True
        )
        scores = [bleu.sentence_score(text(row), [text(each) for each in tests]).score / 100 for row in samples]
        assert found[f"bleu_{n}"] == pytest.approx(np.mean(scores))
        alike = []
        for index, row in enumerate(samples):
            others = [text(each) for number, each in enumerate(samples) if number != index]
            alike.append(bleu.sentence_score(text(row), others).score / 100)
        assert found[f"self_bleu_{n}"] == pytest.approx(np.mean(alike))
    assert metric(tests, {})["bleu_5"] == pytest.approx(1)
    assert metric(tests[:1].repeat(5, 1), {})["self_bleu_2"] == pytest.approx(1)
    assert metric(torch.zeros(3, 8), {})["bleu_2"] == 0
    assert metric.reference().keys() == found.keys()


def test_bleu_needs_sacrebleu(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "sacrebleu", None)
    with pytest.raises(UserError, match=r"pip install torch-ganzoo\[text\]"):
        Bleu(Bleu.Config(), data(sentences(9), sentences(9)))


@pytest.mark.parametrize("padded", [True, False])
def test_copies_by_brute_force(padded: bool) -> None:
    training, samples = sentences(15), sentences(12)
    samples[0] = training[7]
    dataset: Any = data(training, sentences(9))
    if not padded:
        dataset = TensorDataset(DataSpec("bare", (Tokens(8, 6),), 15), {"x": training})

    def runs(row: list[int]) -> set[tuple[int, ...]]:
        return {tuple(row[i:j]) for i in range(len(row)) for j in range(i + 1, len(row) + 1)}

    def plain(rows: torch.Tensor) -> list[list[int]]:
        return [[token for token in row if token or not padded] for row in rows.tolist()]

    known = set().union(*map(runs, plain(training)))
    shares = [max(map(len, runs(row) & known), default=0) / len(row) for row in plain(samples)]
    found = Copies(Copies.Config(samples=12), dataset)(samples, {})
    assert found["longest"] == pytest.approx(np.mean(shares))
    assert found["copies"] == pytest.approx(np.mean([row in plain(training) for row in plain(samples)]))
    assert Copies(Copies.Config(), dataset)(training, {}) == {"copies": 1.0, "longest": 1.0}


def test_other_samples_are_refused() -> None:
    from ganzoo import Points

    dataset: Any = TensorDataset(DataSpec("points", (Points(2),), 3), {"x": torch.zeros(3, 2)})
    with pytest.raises(UserError, match="evaluates tokens, and points has points"):
        Copies(Copies.Config(), dataset)
