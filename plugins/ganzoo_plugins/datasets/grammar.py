"""Sentences of a grammar made in code: whether a sample is one, and how likely it is, is known exactly."""

from typing import Literal

from pydantic import Field

from ganzoo import DatasetConfig
from ganzoo_plugins.datasets.cfg import GRAMMARS, Grammar
from ganzoo_plugins.datasets.sentences import Sentences

__all__ = ["GrammarConfig", "Sampled"]


class GrammarConfig(DatasetConfig):
    """Settings of :class:`Sampled`."""

    grammar: Literal["arithmetic", "brackets", "english"] = Field(
        "brackets", description="the sentences: x+x*x, nested (x+y)*x, or English with agreement over a distance"
    )
    length: int = Field(20, ge=4, le=64, description="most tokens of a sentence; shorter ones are padded")
    size: int = Field(10_000, ge=2, le=1_000_000, description="how many sentences to learn from")
    held_out: int = Field(2500, ge=1, le=100_000, description="how many further sentences are test data")
    sample_seed: int = Field(0, ge=0, lt=2**63, description="seed of the sentences")


class Sampled(Sentences[GrammarConfig]):
    """Sentences drawn from a probabilistic context-free grammar, at most ``length`` tokens each.

    Fields: ``x`` int64 [N, length]; token 0 is the padding. ``"arithmetic"`` has the sentences of the grammar
    S -> x | S+S | S-S | S*S | S/S (GANS for Sequences of Discrete Elements with the Gumbel-softmax Distribution,
    arXiv:1611.04051), 6 tokens with the padding; ``"brackets"`` nested brackets and two variables, 7; ``"english"``
    subjects that agree with their verbs across relative clauses, 50. ``grammar``, a :class:`Grammar`, is the truth that
    the metric ``grammar`` asks.
    """

    metrics = ("grammar",)

    def __init__(self, config: GrammarConfig) -> None:
        self.config = config
        self.grammar = Grammar(GRAMMARS[config.grammar], config.length, " " if config.grammar == "english" else "")
        rows = self.grammar.draw(config.size + config.held_out, config.sample_seed)
        super().__init__("grammar", self.grammar.field, rows[: config.size], rows[config.size :])
