"""Sequences drawn from an LSTM with random weights, whose probability is known: SeqGAN's synthetic task."""

from functools import lru_cache

import torch
from pydantic import Field
from torch import Tensor, nn

from ganzoo import DatasetConfig, Tokens
from ganzoo_plugins.datasets.sentences import Sentences

__all__ = ["Oracle", "OracleConfig", "RandomLSTM"]

_CHUNK = 200  # sequences at once: their logits fit into a cache


class OracleConfig(DatasetConfig):
    """Settings of :class:`Oracle`."""

    vocabulary: int = Field(5000, ge=2, le=50_000, description="how many tokens there are")
    length: int = Field(20, ge=1, le=256, description="tokens in a sequence")
    embedding: int = Field(32, ge=1, le=512, description="width of the oracle's embeddings")
    hidden: int = Field(32, ge=1, le=512, description="width of the oracle's LSTM")
    size: int = Field(10_000, ge=2, le=500_000, description="how many sequences to learn from")
    held_out: int = Field(2500, ge=1, le=100_000, description="how many further sequences are test data")
    weights_seed: int = Field(0, ge=0, lt=2**63, description="seed of the oracle's weights")
    sample_seed: int = Field(0, ge=0, lt=2**63, description="seed of the sequences")


class RandomLSTM(nn.Module):
    """An LSTM language model whose weights and biases are all drawn from N(0, 1) (SeqGAN, arXiv:1609.05473).

    Token 0 starts every sequence, and is one of the tokens too.
    """

    def __init__(self, vocabulary: int, embedding: int, hidden: int, seed: int) -> None:
        super().__init__()
        self.embedding = nn.Embedding(vocabulary, embedding)
        self.lstm = nn.LSTM(embedding, hidden, batch_first=True)
        self.head = nn.Linear(hidden, vocabulary)
        rng = torch.Generator().manual_seed(seed)
        with torch.no_grad():
            for name, values in self.named_parameters():
                values.normal_(generator=rng)
                if name == "lstm.bias_hh_l0":  # torch adds two biases where the paper has one
                    values.zero_()
        self.requires_grad_(False)

    def draw(self, n: int, length: int, seed: int) -> Tensor:
        """Return ``n`` sequences, int64 [n, length]."""
        rng, rows = torch.Generator().manual_seed(seed), []
        for start in range(0, n, _CHUNK):
            state, tokens = None, [torch.zeros(min(_CHUNK, n - start), dtype=torch.int64)]
            for _ in range(length):
                hidden, state = self.lstm(self.embedding(tokens[-1][:, None]), state)
                # By the inverse of the distribution function: one random number a token, not one for each of 5,000.
                shares = self.head(hidden[:, 0]).softmax(dim=1).cumsum(dim=1)
                points = torch.rand(len(shares), 1, generator=rng) * shares[:, -1:]
                found = torch.searchsorted(shares, points, right=True)[:, 0]
                tokens.append(found.clamp(max=shares.shape[1] - 1))
            rows.append(torch.stack(tokens[1:], dim=1))
        return torch.cat(rows)

    def nll(self, tokens: Tensor) -> Tensor:
        """Return -log p of sequences, int64 [N, length], in nats a token: float32 [N]."""
        found = []
        for part in tokens.split(_CHUNK // 4):  # the logits of all places at once
            before = torch.cat([torch.zeros_like(part[:, :1]), part[:, :-1]], dim=1)
            hidden, _ = self.lstm(self.embedding(before))
            log_p = self.head(hidden).log_softmax(dim=2)
            found.append(-log_p.gather(2, part[:, :, None])[:, :, 0].mean(dim=1))
        return torch.cat(found)


@lru_cache(maxsize=2)
def _drawn(config: OracleConfig) -> tuple[RandomLSTM, Tensor]:
    """Return the oracle and its sequences, which take seconds to draw; a process asks for them more than once."""
    oracle = RandomLSTM(config.vocabulary, config.embedding, config.hidden, config.weights_seed)
    return oracle, oracle.draw(config.size + config.held_out, config.length, config.sample_seed)


class Oracle(Sentences[OracleConfig]):
    """Sequences of numbers that an LSTM with random weights has drawn (SeqGAN, arXiv:1609.05473).

    Fields: ``x`` int64 [N, length], tokens without texts and without padding. ``oracle``, a :class:`RandomLSTM`, is the
    truth that the metric ``nll_oracle`` asks. Its weights come from ``weights_seed``, and are not those that published
    figures were measured with: what real sequences get differs by a tenth or two from one oracle to another.
    """

    metrics = ("nll_oracle",)

    def __init__(self, config: OracleConfig) -> None:
        self.config = config
        self.oracle, rows = _drawn(config)
        super().__init__("oracle", Tokens(config.length, config.vocabulary), rows[: config.size], rows[config.size :])
