"""Sentences of grammars and sequences of an oracle: what is known of them exactly, computed in other ways."""

from itertools import product
from typing import Any

import numpy as np
import pytest
import torch

from ganzoo_plugins.datasets.cfg import GRAMMARS, Grammar, Rules
from ganzoo_plugins.datasets.grammar import GrammarConfig, Sampled
from ganzoo_plugins.datasets.oracle import Oracle, OracleConfig, RandomLSTM


def derive(rules: Rules, symbols: tuple[str, ...], left: int) -> dict[tuple[str, ...], float]:
    """Return by sentence the sum over its leftmost derivations, by trying them all."""
    if len(symbols) > left:
        return {}
    if not symbols:
        return {(): 1.0}
    first, rest = symbols[0], symbols[1:]
    if first not in rules:
        return {(first, *tail): share for tail, share in derive(rules, rest, left - 1).items()}
    found: dict[tuple[str, ...], float] = {}
    for share, rule in rules[first]:
        for sentence, weight in derive(rules, (*rule.split(), *rest), left).items():
            found[sentence] = found.get(sentence, 0.0) + share * weight
    return found


def rows_of(grammar: Grammar, sentences: Any) -> torch.Tensor:
    rows = torch.zeros(len(sentences), grammar.length, dtype=torch.int64)
    for row, sentence in zip(rows, sentences, strict=True):
        row[: len(sentence)] = torch.tensor([grammar.number[each] for each in sentence])
    return rows


@pytest.mark.parametrize("name", ["arithmetic", "brackets"])
def test_probability_and_support_are_those_of_all_derivations(name: str) -> None:
    grammar = Grammar(GRAMMARS[name], 7)
    weights = derive(dict(GRAMMARS[name]), ("S",), 7)
    total = sum(weights.values())
    assert grammar.fits == pytest.approx(total, rel=1e-12)
    assert grammar.support == len(weights)
    rows = rows_of(grammar, weights)
    assert torch.allclose(
        grammar.probability(rows), torch.tensor([*weights.values()], dtype=torch.float64) / total, rtol=1e-12
    )
    assert grammar.derivations(rows).unique().tolist() == [1.0]
    assert float(grammar.probability(rows).sum()) == pytest.approx(1, rel=1e-12)
    everything = torch.tensor([*product(range(len(grammar.terminals) + 1), repeat=4)])
    few = Grammar(GRAMMARS[name], 4)
    ended = (everything == 0).cumsum(1) > 0
    once = everything[((everything != 0) & ended).sum(1) == 0]  # rows that go on after their end stand for others
    assert int((few.probability(once) > 0).sum()) == few.support


def test_ambiguous_grammars_sum_over_derivations() -> None:
    rules: Rules = {
        "S": [(0.5, "x"), (0.3, "S + S"), (0.2, "T")],
        "T": [(0.5, "x + x"), (0.3, "U"), (0.2, "T S x")],
        "U": [(0.6, "x"), (0.4, "S U")],
    }
    grammar = Grammar(rules, 5)
    weights = derive(rules, ("S",), 5)
    found = grammar.probability(rows_of(grammar, weights)) * grammar.fits
    assert np.allclose(found.numpy(), [*weights.values()], rtol=1e-12)
    assert grammar.fits == pytest.approx(sum(weights.values()), rel=1e-12)
    around: Rules = {"S": [(0.5, "x"), (0.5, "T")], "T": [(0.5, "S"), (0.5, "y")]}  # S -> T -> S -> ...
    grammar = Grammar(around, 4)
    assert grammar.probability(rows_of(grammar, ["x", "y"])).tolist() == pytest.approx([2 / 3, 1 / 3])
    arithmetic: Rules = {"S": [(0.6, "x"), (0.4, "S + S")]}  # a sentence of three sums has a Catalan number of trees
    grammar = Grammar(arithmetic, 7)
    assert grammar.derivations(rows_of(grammar, ["x+x+x+x", "x+x", "x"])).tolist() == [5, 1, 1]


@pytest.mark.parametrize("name", list(GRAMMARS))
def test_grammars_accept_what_they_draw_and_little_else(name: str) -> None:
    dataset = Sampled(GrammarConfig(grammar=name, size=300, held_out=50))  # type: ignore[arg-type]
    rows, field = dataset.tensors["x"], dataset.grammar.field
    assert field.vocabulary <= 64
    assert dataset.grammar.derivations(rows).unique().tolist() == [1.0]  # none is ambiguous
    behind = rows.clone()
    behind[(rows == 0).cumsum(1) > 1] = 1  # nothing counts after the end
    assert torch.equal(dataset.grammar.probability(behind), dataset.grammar.probability(rows))
    wrong = torch.cat([rows[:, 1:], rows[:, :1]], dim=1)[rows[:, 0] != rows[:, 1]]
    assert float((dataset.grammar.probability(wrong) > 0).double().mean()) < 0.4
    assert dataset.grammar.probability(torch.zeros(1, 20, dtype=torch.int64)).tolist() == [0.0]
    again = Sampled(GrammarConfig(grammar=name, size=300, held_out=50))  # type: ignore[arg-type]
    assert torch.equal(rows, again.tensors["x"])
    assert torch.equal(dataset.examples(9)["x"], dataset.held_out[:9])


def test_sentences_are_drawn_as_often_as_the_grammar_says() -> None:
    grammar = Grammar(GRAMMARS["arithmetic"], 5)
    rows, counts = grammar.draw(20_000, 3).unique(dim=0, return_counts=True)
    expected = grammar.probability(rows) * 20_000
    assert len(rows) == grammar.support == 21
    assert float(((counts - expected) ** 2 / expected).sum()) < 45.3  # chi-square of 20 degrees: one in a thousand


def test_the_english_agrees_across_clauses() -> None:
    grammar = Grammar(GRAMMARS["english"], 20, " ")
    lines = ["the dog that likes the cats sleeps", "the dog that likes the cats sleep", "dogs sleep", "many dogs sleep"]
    assert (grammar.probability(rows_of(grammar, [line.split() for line in lines])) > 0).tolist() == [1, 0, 0, 1]
    assert grammar.field.stored(grammar.draw(1, 0).numpy())["text"][0].split()[0] in (
        "the",
        "a",
        "every",
        "some",
        "many",
    )


def test_the_oracle_is_an_lstm_with_one_bias() -> None:
    oracle = RandomLSTM(7, 3, 4, seed=5)
    weights = {name: values.double().numpy() for name, values in oracle.named_parameters()}
    assert not weights["lstm.bias_hh_l0"].any()
    tokens = oracle.draw(6, 5, seed=1)

    def sigmoid(x: Any) -> Any:
        return 1 / (1 + np.exp(-x))

    for row, found in zip(tokens.tolist(), oracle.nll(tokens).tolist(), strict=True):
        h, c, last, total = np.zeros(4), np.zeros(4), 0, 0.0
        for token in row:
            x = weights["embedding.weight"][last]
            gates = weights["lstm.weight_ih_l0"] @ x + weights["lstm.weight_hh_l0"] @ h + weights["lstm.bias_ih_l0"]
            i, f, g, o = np.split(gates, 4)
            c = sigmoid(f) * c + sigmoid(i) * np.tanh(g)
            h = sigmoid(o) * np.tanh(c)
            logits = weights["head.weight"] @ h + weights["head.bias"]
            total -= logits[token] - np.log(np.exp(logits).sum())
            last = token
        assert found == pytest.approx(total / len(row), rel=1e-5)


def test_the_oracle_draws_from_its_own_distribution() -> None:
    oracle = RandomLSTM(5, 4, 4, seed=2)
    tokens = oracle.draw(20_000, 2, seed=0)
    everything = torch.cartesian_prod(torch.arange(5), torch.arange(5))
    expected = (-2 * oracle.nll(everything)).exp() * 20_000
    counts = torch.bincount(tokens[:, 0] * 5 + tokens[:, 1], minlength=25)
    seen = expected > 5
    assert float(expected.sum()) == pytest.approx(20_000, rel=1e-4)
    assert float(((counts - expected)[seen] ** 2 / expected[seen]).sum()) < 51  # of 24 degrees: one in a thousand


def test_the_oracles_data() -> None:
    config = OracleConfig(vocabulary=50, length=6, embedding=4, hidden=4, size=40, held_out=10)
    dataset = Oracle(config)
    assert (len(dataset), len(dataset.held_out), dataset.spec.sample.shape) == (40, 10, (6,))
    assert not dataset.spec.sample.padded  # type: ignore[attr-defined]
    weights = [values.flatten() for name, values in dataset.oracle.named_parameters() if "bias_hh" not in name]
    assert float(torch.cat(weights).std()) == pytest.approx(1, abs=0.1)
    assert torch.equal(Oracle(config).tensors["x"], dataset.tensors["x"])
    other = Oracle(config.model_copy(update={"weights_seed": 1}))
    assert not torch.equal(other.tensors["x"], dataset.tensors["x"])
