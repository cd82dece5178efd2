"""Probabilistic context-free grammars, of which everything can be computed: whether, how likely, how many."""

import random
from collections.abc import Mapping, Sequence
from functools import cached_property
from itertools import accumulate

import torch
from torch import Tensor

from ganzoo import Tokens
from ganzoo_plugins.datasets.sentences import padded

__all__ = ["GRAMMARS", "Grammar", "Rules"]

Rules = Mapping[str, Sequence[tuple[float, str]]]
"""By the name of a nonterminal, in capitals, what it becomes and how often: symbols with spaces between them."""

_START = "S"

_ARITHMETIC: Rules = {
    # S -> x | S + S | S - S | S * S | S / S of arXiv:1611.04051 in its unambiguous form: the same sentences.
    "S": [(0.2, "x"), *((0.2, f"S {sign} x") for sign in "+-*/")],
}

_BRACKETS: Rules = {
    "S": [(0.5, "T"), (0.25, "S + T"), (0.25, "S * T")],
    "T": [(0.4, "x"), (0.3, "y"), (0.3, "( S )")],
}

_ENGLISH: Rules = {
    "S": [(0.5, "ONE VONE"), (0.5, "MANY VMANY")],
    "ONE": [(0.75, "DONE NONE"), (0.25, "DONE NONE that VONE")],
    "MANY": [(0.75, "DMANY NMANY"), (0.25, "DMANY NMANY that VMANY")],
    "NONE": [(0.7, "BONE"), (0.3, "ADJ NONE")],
    "NMANY": [(0.7, "BMANY"), (0.3, "ADJ NMANY")],
    "VONE": [(0.4, "IONE"), (0.4, "TONE NP"), (0.1, "IONE ADV"), (0.1, "SONE S")],
    "VMANY": [(0.4, "IMANY"), (0.4, "TMANY NP"), (0.1, "IMANY ADV"), (0.1, "SMANY S")],
    "NP": [(0.5, "ONE"), (0.5, "MANY")],
    "DONE": [(0.5, "the"), (0.3, "a"), (0.2, "every")],
    "DMANY": [(0.5, "the"), (0.3, "some"), (0.2, "many")],
    "ADJ": [(0.3, "small"), (0.3, "big"), (0.2, "red"), (0.2, "happy")],
    "BONE": [(0.3, "dog"), (0.3, "cat"), (0.2, "child"), (0.1, "bird"), (0.1, "teacher")],
    "BMANY": [(0.3, "dogs"), (0.3, "cats"), (0.2, "children"), (0.1, "birds"), (0.1, "teachers")],
    "IONE": [(0.5, "sleeps"), (0.3, "sings"), (0.2, "runs")],
    "IMANY": [(0.5, "sleep"), (0.3, "sing"), (0.2, "run")],
    "TONE": [(0.5, "sees"), (0.3, "likes"), (0.2, "follows")],
    "TMANY": [(0.5, "see"), (0.3, "like"), (0.2, "follow")],
    "SONE": [(0.6, "thinks"), (0.4, "says")],
    "SMANY": [(0.6, "think"), (0.4, "say")],
    "ADV": [(0.6, "today"), (0.4, "again")],
}

GRAMMARS: Mapping[str, Rules] = {"arithmetic": _ARITHMETIC, "brackets": _BRACKETS, "english": _ENGLISH}
"""The bundled grammars; none is ambiguous: a sentence has one derivation."""


class Grammar:
    """A probabilistic context-free grammar whose sentences have at most ``length`` tokens.

    A sentence's probability is that of its derivations under the condition that it is not longer. ``terminals``
    are in the order of the rules, after the padding; ``field`` says them as a data set does. ``space`` stands before
    each.
    """

    def __init__(self, rules: Rules, length: int, space: str = "") -> None:
        self.rules = {name: [(share, rule.split()) for share, rule in choices] for name, choices in rules.items()}
        self.length = length
        symbols = [symbol for choices in self.rules.values() for _, rule in choices for symbol in rule]
        self.terminals = tuple(dict.fromkeys(symbol for symbol in symbols if symbol not in rules))
        self.number = {terminal: index for index, terminal in enumerate(self.terminals, 1)}
        texts = ("", *(space + terminal for terminal in self.terminals))
        self.field = Tokens(length, len(texts), texts)

    def draw(self, n: int, seed: int) -> Tensor:
        """Return ``n`` sentences, int64 [n, length]."""
        rng = random.Random(seed)
        limits = {name: list(accumulate(share for share, _ in choices)) for name, choices in self.rules.items()}
        rows: list[list[int]] = []
        while len(rows) < n:
            row, waiting = list[int](), [_START]
            while waiting and len(row) + len(waiting) <= self.length:  # each that waits becomes a token at least
                symbol = waiting.pop()
                if symbol in self.number:
                    row.append(self.number[symbol])
                else:
                    point = rng.random() * limits[symbol][-1]
                    chosen = next(index for index, limit in enumerate(limits[symbol]) if point < limit)
                    waiting += self.rules[symbol][chosen][1][::-1]
            if not waiting:
                rows.append(row)
        return padded(rows, self.length)

    def probability(self, tokens: Tensor) -> Tensor:
        """Return the probability of each row of tokens, int64 [N, length], as float64 [N]; 0 if it is no sentence.

        A row ends where its first token 0 stands.
        """
        return self._inside(tokens, self._normal) / self.fits

    def derivations(self, tokens: Tensor) -> Tensor:
        """Return how many derivations each row of tokens, int64 [N, length], has, as float64 [N]."""
        return self._inside(tokens, self._counting)

    @cached_property
    def fits(self) -> float:
        """The probability that a sentence is not longer than ``length``."""
        return float(self._lengths(self._normal).sum())

    @cached_property
    def support(self) -> int:
        """How many sentences there are, if the grammar is not ambiguous (of an ambiguous one, how many derivations)."""
        return round(float(self._lengths(self._counting).sum()))

    def _inside(self, tokens: Tensor, normal: "_Normal") -> Tensor:
        rows, place = tokens.unique(dim=0, return_inverse=True)
        ended = (rows == 0).cumsum(dim=1) > 0
        lengths = (~ended).sum(dim=1)
        emission = torch.cat([torch.zeros_like(normal.emission[:1]), normal.emission])  # nothing becomes the padding
        chart = normal.chart(emission[rows])
        found = torch.stack(
            [torch.zeros(len(rows), dtype=torch.float64), *(spans[:, 0, normal.start] for spans in chart)]
        )
        return found.gather(0, lengths[None])[0][place]

    def _lengths(self, normal: "_Normal") -> Tensor:
        """Return the weight of all sentences of 1 .. length tokens, float64 [length]."""
        anything = normal.emission.sum(dim=0).expand(1, self.length, -1)
        return torch.stack([spans[0, 0, normal.start] for spans in normal.chart(anything)])

    @cached_property
    def _normal(self) -> "_Normal":
        return _Normal(self, counting=False)

    @cached_property
    def _counting(self) -> "_Normal":
        return _Normal(self, counting=True)


class _Normal:
    """A grammar in Chomsky normal form: each rule becomes a terminal, or two nonterminals."""

    def __init__(self, grammar: Grammar, *, counting: bool) -> None:
        names: dict[str, int] = {name: index for index, name in enumerate(grammar.rules)}
        pairs: list[tuple[int, int, int, float]] = []
        units: list[tuple[int, int, float]] = []
        terminals: list[tuple[int, int, float]] = []

        def nonterminal(symbol: str) -> int:
            if symbol in names:
                return names[symbol]
            names[symbol] = len(names)
            terminals.append((names[symbol], grammar.number[symbol] - 1, 1.0))
            return names[symbol]

        for name, choices in grammar.rules.items():
            for share, rule in choices:
                head, weight = names[name], 1.0 if counting else share
                if len(rule) == 1 and rule[0] in grammar.number:
                    terminals.append((head, grammar.number[rule[0]] - 1, weight))
                    continue
                if len(rule) == 1:
                    units.append((head, names[rule[0]], weight))
                    continue
                for symbol in rule[:-2]:  # A -> B C D is A -> B A' and A' -> C D
                    names[f"{name} {rule} {len(names)}"] = rest = len(names)
                    pairs.append((head, nonterminal(symbol), rest, weight))
                    head, weight = rest, 1.0
                pairs.append((head, nonterminal(rule[-2]), nonterminal(rule[-1]), weight))
        # Chains of rules A -> B are summed up: (1 - U)^-1 = 1 + U + U² + ...
        unit = torch.zeros(len(names), len(names), dtype=torch.float64)
        for head, tail, weight in units:
            unit[head, tail] += weight
        closed = torch.linalg.inv(torch.eye(len(names), dtype=torch.float64) - unit)
        emission = torch.zeros(len(grammar.terminals), len(names), dtype=torch.float64)
        for head, terminal, weight in terminals:
            emission[terminal, head] += weight
        self.start = names[_START]
        self.left, self.right = (torch.tensor([pair[side] for pair in pairs], dtype=torch.int64) for side in (1, 2))
        heads = torch.zeros(len(pairs), len(names), dtype=torch.float64)
        for index, (head, _, _, weight) in enumerate(pairs):
            heads[index, head] = weight
        self.emission, self.heads = emission @ closed.T, heads @ closed.T

    def chart(self, emissions: Tensor) -> list[Tensor]:
        """Return the inside weights of all spans for the emissions of each place, float64 [N, L, nonterminals].

        Item l - 1 is those of l tokens, float64 [N, L - l + 1, nonterminals] by where the span begins.
        """
        spans, length = [emissions], emissions.shape[1]
        for size in range(2, length + 1):
            starts = length - size + 1
            total = emissions.new_zeros(len(emissions), starts, len(self.left))
            for first in range(1, size):
                before, after = spans[first - 1][:, :starts], spans[size - first - 1][:, first : first + starts]
                total += before[:, :, self.left] * after[:, :, self.right]
            spans.append(total @ self.heads)
        return spans
