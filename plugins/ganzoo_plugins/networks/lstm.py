"""Recurrent networks of tokens: a language model that draws from noise, and a discriminator that scores each token."""

import math
from collections.abc import Callable, Iterator

import torch
from torch import Tensor, nn
from torch.nn.functional import embedding, linear, one_hot

from ganzoo import Attributes, Discriminator, Generator, Latent, Scores, Signature, Tokens, UserError, full_precision

__all__ = [
    "COLDEST",
    "LONGEST",
    "LSTMDiscriminator",
    "LanguageModel",
    "as_rows",
    "counted",
    "embedded",
    "inverse_cdf",
    "uniform",
]

LONGEST = 128
"""The longest samples: the loop over positions is written out in exported files, some 30 nodes each."""
COLDEST = 1e-3
"""The temperature that stands for lower ones, 0 among them: the likeliest token, always."""

State = tuple[Tensor, Tensor]
States = list[State]
"""The hidden state and the cell, [N, H], of each layer."""
Begun = tuple[Tensor, States]
"""The first tokens of samples, [N, K], and the states before the last of them is read."""
Pick = Callable[[Tensor, int], Tensor]
"""Returns tokens, int64 [N], for logits, [N or 1, V], of a position."""


class LanguageModel(Generator):
    """An LSTM that draws token after token: noise z [N, L] and a temperature [N, 1] to one-hot rows [N, L, V].

    z is normal, and its share of the normal distribution chooses each token by the inverse of the cumulative
    probabilities, so that a sample is a function of its noise, and a walk along a great circle of z passes through
    samples as they are usually drawn. Logits are divided by the temperature before.

    Drawing computes in float64, wherever it is done: between two neighboring tokens there is always a noise that lies
    on the border, and of 5,000 tokens float32 confuses one in a thousand, after which the whole rest is another text.
    """

    def __init__(
        self, sample: Tokens, *, embedding_dim: int, hidden_dim: int, layers: int = 1, temperature: float = 1.0
    ) -> None:
        if sample.length > LONGEST:
            raise UserError(f"this model draws samples of up to {LONGEST} tokens, not {sample.length}")
        heat = Attributes(1, ("temperature",), ((temperature,),), name="temperature")
        super().__init__(Signature((Latent((sample.length,)), heat), sample))
        self.vocabulary, self.length, self.padded = sample.vocabulary, sample.length, sample.padded
        self.embedding = nn.Embedding(sample.vocabulary + 1, embedding_dim)  # the last one is what precedes a sample
        self.lstm = nn.LSTM(embedding_dim, hidden_dim, layers, batch_first=True)
        self.head = nn.Linear(hidden_dim, sample.vocabulary)

    def forward(self, z: Tensor, temperature: Tensor) -> Tensor:
        """Draw samples."""
        exact = torch.float32 if z.device.type == "mps" else torch.float64  # which Apple's GPUs do not have
        uniforms, cold = uniform(z.to(exact)), temperature.to(exact).clamp(min=COLDEST)
        tokens, _ = _Stepper(self, exact).run(lambda logits, at: inverse_cdf(logits / cold, uniforms[:, at]))
        return as_rows(tokens, self.vocabulary)

    @torch.no_grad()
    def draw(self, n: int) -> Tensor:
        """Return ``n`` samples, int64 [n, L], from torch's random state, in float32, as they are drawn in training."""
        with full_precision(self.head.weight.device):
            stepper = _Stepper(self, torch.float32)
        return self._draw(stepper, n)

    @torch.no_grad()
    def roll_outs(self, tokens: Tensor, count: int) -> Iterator[Tensor]:
        """Yield, for the first token of samples [N, L], the first two, up to all but the last, ``count`` ways to go on.

        Each is int64 [count * N, L], the first N of one way each.
        """
        with full_precision(tokens.device):
            stepper = _Stepper(self, torch.float32)
            _, states = stepper.run(lambda logits, at: tokens[:, at])
        for known in range(1, self.length):
            begun = [(_copies(h, len(tokens), count), _copies(c, len(tokens), count)) for h, c in states[known]]
            yield self._draw(stepper, count * len(tokens), (tokens[:, :known].repeat(count, 1), begun))

    def _draw(self, stepper: "_Stepper", n: int, begun: "Begun | None" = None) -> Tensor:
        with full_precision(self.head.weight.device):
            noise = torch.rand(n, self.length, device=self.head.weight.device)
            return stepper.run(lambda logits, at: inverse_cdf(logits, noise[:, at]), begun)[0]

    def hidden(self, tokens: Tensor) -> Tensor:
        """Return what the LSTM holds at every position of samples, int64 [N, L], of what is before it: [N, L, H]."""
        return self._read(tokens, _Stepper(self, torch.float32))

    def logits(self, tokens: Tensor) -> Tensor:
        """Return the logits of every position of samples, int64 [N, L], given what is before: [N, L, V]."""
        stepper = _Stepper(self, torch.float32)
        return linear(self._read(tokens, stepper), *stepper.head).float()

    def _read(self, tokens: Tensor, stepper: "_Stepper") -> Tensor:
        start = tokens.new_full((len(tokens), 1), self.vocabulary)
        before = torch.cat([start, tokens[:, :-1]], 1)
        hidden, states = [], stepper.start()
        for gates in embedding(before, stepper.table).unbind(1):
            hidden.append(stepper.advance(gates, states))
        return torch.stack(hidden, 1)

    def log_likelihood(self, tokens: Tensor) -> Tensor:
        """Return the logarithm of each token's probability given those before it, [N, L], for samples, int64 [N, L].

        Behind the end of a sample it is 0.
        """
        found = self.logits(tokens).log_softmax(-1).gather(2, tokens.unsqueeze(2)).squeeze(2)
        return found * self.counted(tokens)

    def counted(self, tokens: Tensor) -> Tensor:
        """Return 1 for each token of samples, int64 [N, L], up to the one that ends it, and 0 behind it."""
        return counted(tokens) if self.padded else torch.ones_like(tokens, dtype=torch.float32)

    def relaxed(self, n: int, temperature: float) -> Tensor:
        """Return ``n`` samples as one-hot rows, [n, L, V], with the gradient of softmax(logits + noise) / temperature.

        Straight-through Gumbel softmax, arXiv:1611.01144; what is drawn goes on to the next position as rows, too.
        """
        stepper, rows = _Stepper(self, torch.float32), []
        states, gates = stepper.start(), stepper.table[-1:]
        for _ in range(self.length):
            logits = linear(stepper.advance(gates, states), *stepper.head).expand(n, -1)
            soft = ((logits - torch.empty_like(logits).exponential_().log()) / temperature).softmax(-1)
            hard = one_hot(soft.argmax(-1), self.vocabulary).to(soft.dtype)
            rows.append(hard + soft - soft.detach())
            gates = rows[-1] @ stepper.table[:-1]
        return torch.stack(rows, 1)


class _Stepper:
    """The LSTM one position at a time, in some precision: for drawing, and so that CUDA graphs and exporters follow.

    What a token adds to the first layer's gates is one row of ``table``, [V + 1, 4 H]: one product for all positions.
    """

    def __init__(self, model: LanguageModel, dtype: torch.dtype) -> None:
        self.model, lstm = model, model.lstm
        weights: dict[str, Tensor] = {name: weight.to(dtype) for name, weight in lstm.named_parameters()}
        self.input = [weights[f"weight_ih_l{layer}"] for layer in range(lstm.num_layers)]
        self.hidden = [weights[f"weight_hh_l{layer}"] for layer in range(lstm.num_layers)]
        self.bias = [weights[f"bias_ih_l{layer}"] + weights[f"bias_hh_l{layer}"] for layer in range(lstm.num_layers)]
        self.table = linear(model.embedding.weight.to(dtype), self.input[0], self.bias[0])
        self.head = model.head.weight.to(dtype), model.head.bias.to(dtype)

    def start(self) -> States:
        """Return the states before the first position: zeros, [1, H], as what precedes is the same for all samples."""
        zeros = self.table.new_zeros(1, self.model.lstm.hidden_size)
        return [(zeros, zeros) for _ in self.hidden]

    def advance(self, gates: Tensor, states: States) -> Tensor:
        """Return what is hidden, [N, H], after a token whose share of the first gates is given; states are replaced."""
        for layer, (h, c) in enumerate(states):
            if layer:
                gates = linear(states[layer - 1][0], self.input[layer], self.bias[layer])
            i, f, g, o = (gates + linear(h, self.hidden[layer])).chunk(4, 1)
            c = f.sigmoid() * c + i.sigmoid() * g.tanh()
            states[layer] = o.sigmoid() * c.tanh(), c
        return states[-1][0]

    def run(self, pick: Pick, begun: Begun | None = None) -> tuple[Tensor, list[States]]:
        """Return samples [N, L] of tokens that ``pick`` chooses, and the states at each position.

        Those are the ones before the position's predecessor is read, as ``begun`` wants them.
        """
        tokens = list(begun[0].unbind(1)) if begun else []
        states = begun[1] if begun else self.start()
        gates = embedding(tokens[-1], self.table) if tokens else self.table[-1:]
        passed: list[States] = []
        for at in range(len(tokens), self.model.length):
            passed.append(list(states))
            token = pick(linear(self.advance(gates, states), *self.head), at)
            if self.model.padded and tokens:
                token = token * tokens[-1].sign()  # what has ended stays ended
            tokens.append(token)
            gates = embedding(token, self.table)
        return torch.stack(tokens, 1), passed


def _copies(state: Tensor, n: int, count: int) -> Tensor:
    """Return a state of ``n`` samples, or of all of them alike, [N or 1, H], ``count`` times over."""
    return state.expand(n, -1).repeat(count, 1)


class LSTMDiscriminator(Discriminator):
    """Tokens, int64 [N, L] or rows [N, L, V], to a score for each, [N, L], given those before it; 0 behind the end.

    As in the code of ScratchGAN: dropout in the table of embeddings, a position signal beside it, a linear layer,
    an LSTM whose gates are normalized before their bias is added (arXiv:1607.06450), with 1 added to the forget gate.
    """

    def __init__(self, sample: Tokens, *, embedding_dim: int, hidden_dim: int, dropout: float) -> None:
        super().__init__(Signature((sample,), Scores()))
        self.embedding = nn.Parameter(torch.randn(sample.vocabulary, embedding_dim) / math.sqrt(embedding_dim))
        self.dropout, self.padded = nn.Dropout(dropout), sample.padded
        self.register_buffer("positions", position_signal(sample.length), persistent=False)
        self.input = nn.Linear(embedding_dim + self.positions.shape[1], hidden_dim)
        self.gates = nn.Linear(2 * hidden_dim, 4 * hidden_dim, bias=False)
        self.norm = nn.LayerNorm(4 * hidden_dim)
        self.head = nn.Linear(hidden_dim, 1)

    positions: Tensor

    def forward(self, x: Tensor) -> Tensor:
        """Score tokens."""
        found = embedded(x, self.dropout(self.embedding))
        # The linear layer of both, side by side; the signal is that of all samples.
        of_tokens, of_places = self.input.weight.split([found.shape[2], self.positions.shape[1]], 1)
        inputs = linear(found, of_tokens) + linear(self.positions.to(found), of_places, self.input.bias)
        h = c = torch.zeros_like(inputs[:, 0])
        hidden = []
        for entry in inputs.unbind(1):
            i, f, g, o = self.norm(self.gates(torch.cat([entry, h], 1))).chunk(4, 1)
            c = (f + 1).sigmoid() * c + i.sigmoid() * g.tanh()
            h = o.sigmoid() * c.tanh()
            hidden.append(h)
        scores = self.head(torch.stack(hidden, 1)).squeeze(2)
        if self.padded:
            scores = scores * counted(x.argmax(2) if x.is_floating_point() else x)
        return scores


def position_signal(length: int, dim: int = 8) -> Tensor:
    """Return sines and cosines of each position, [length, dim], of wavelengths from 2 pi to 20,000 pi."""
    at = torch.arange(length, dtype=torch.float32).unsqueeze(1)
    rates = torch.exp(-torch.arange(dim // 2) * math.log(10_000) / max(dim // 2 - 1, 1))
    return torch.cat([(at * rates).sin(), (at * rates).cos()], 1)


def embedded(x: Tensor, table: Tensor) -> Tensor:
    """Return the rows of a table [V, E] that tokens name, [N, L, E]: a look-up, or of rows a product with them."""
    return x @ table if x.is_floating_point() else table[x]


def counted(tokens: Tensor) -> Tensor:
    """Return 1 for each token of padded samples, int64 [N, L], up to the first 0, and 0 behind it."""
    ended = (tokens == 0).cumsum(1)
    return ((ended == 0) | ((ended == 1) & (tokens == 0))).float()


def as_rows(tokens: Tensor, vocabulary: int) -> Tensor:
    """Return tokens, int64 [N, L], as one-hot rows, float32 [N, L, V]."""
    return (tokens.unsqueeze(-1) == torch.arange(vocabulary, device=tokens.device)).float()


def inverse_cdf(logits: Tensor, uniforms: Tensor) -> Tensor:
    """Return the tokens, int64 [N], at which the cumulative probabilities of logits [N or 1, V] reach 0..1, [N]."""
    total = (logits - logits.amax(1, keepdim=True)).exp().cumsum(1)
    wanted = uniforms.unsqueeze(1) * total[:, -1:]  # so that rounding never leads beyond the last token
    if torch.compiler.is_exporting():  # what ONNX has
        return (total < wanted).sum(1)
    return torch.searchsorted(total.expand(len(wanted), -1).contiguous(), wanted).squeeze(1)


def uniform(z: Tensor) -> Tensor:
    """Return the share of the normal distribution below z, in 0..1, with an error of at most 1e-7.

    By Abramowitz and Stegun, 7.1.26: onnxruntime computes erf in float32 alone, and with the same formula both have the
    same numbers.
    """
    x = z.abs() / math.sqrt(2)
    t = 1 / (1 + 0.3275911 * x)
    series = t * (0.254829592 + t * (-0.284496736 + t * (1.421413741 + t * (-1.453152027 + t * 1.061405429))))
    tail = series * (-x * x).exp() / 2
    return torch.where(z < 0, tail, 1 - tail)
