"""The Fréchet distance of texts, in what a language model of the data holds when it has read them."""

import time
from functools import cached_property
from typing import Any, ClassVar

import torch
from pydantic import Field
from torch import Tensor

from ganzoo import Dataset, MetricConfig, UserError
from ganzoo.terminal import Progress
from ganzoo_plugins.metrics.evaluator import gather
from ganzoo_plugins.metrics.sentences import TokenMetric
from ganzoo_plugins.networks.lstm import LanguageModel

__all__ = ["FrechetText"]

_BATCH, _RATE, _CHUNK = 100, 1e-2, 500


class FrechetTextConfig(MetricConfig):
    """The settings of :class:`FrechetText`."""

    steps: int = Field(400, ge=1, description="training steps of the language model, batches of 100")
    hidden_dim: int = Field(64, ge=1, description="size of its LSTM: how many features a text has")


class FrechetText(TokenMetric):
    """The Fréchet distance of texts to training data: 0 is best, and depends on the sample count.

    As the Fréchet InferSent distance (arXiv:1806.04936) and that of ScratchGAN (arXiv:1905.09922), with features of a
    language model of the data: an LSTM that is trained on it, always alike, in some seconds, and whose states are
    averaged over the positions of a text. It sees a lack of quality as well as one of variety. As many held-out texts
    are the reference; ``perplexity`` among the metadata says how well the language model knows them.
    """

    Config: ClassVar[type[MetricConfig]] = FrechetTextConfig
    config: FrechetTextConfig
    better: ClassVar = {"": "lower"}

    def __init__(self, config: FrechetTextConfig, dataset: Dataset) -> None:
        super().__init__(config, dataset)
        self._quiet = True
        if (count := min(config.samples, len(dataset), len(self.real(2)))) < 2:
            raise UserError(f"two texts at least are compared, held-out ones with as many of the data, not {count}")

    def figures(self, tokens: Tensor) -> dict[str, float]:
        """Return the distance of as many samples as there are texts to compare with."""
        from torch_fidelity.metric_fid import KEY_METRIC_FID, fid_features_to_statistics, fid_statistics_to_metric

        real = self._real
        each = [fid_features_to_statistics(self.features(part)) for part in (tokens[: len(real)], real)]
        return {"distance": fid_statistics_to_metric(*each, verbose=False)[KEY_METRIC_FID]}

    def prepare(self, *, quiet: bool = False) -> None:
        """Train the language model, with progress on stderr unless ``quiet``."""
        self._quiet = quiet
        _ = self._model

    def metadata(self) -> dict[str, Any]:
        """Return what the language model is, how well it knows held-out texts, and how many texts are compared."""
        tokens, model = self.ended(self.real(self.config.samples)), self._model
        with torch.no_grad():
            nats = -model.log_likelihood(tokens).sum() / model.counted(tokens).sum()
        name = f"lstm_{self.config.hidden_dim}_{self.config.steps}_steps"
        return {"evaluator": name, "perplexity": float(nats.exp()), "compared": len(self._real)}

    def features(self, tokens: Tensor) -> Tensor:
        """Return features, float64 [N, H], of samples, int64 [N, L]."""
        model, found = self._model, []
        with torch.no_grad():
            for part in tokens.split(_CHUNK):
                counted = model.counted(part).unsqueeze(2)
                found.append((model.hidden(part) * counted).sum(1) / counted.sum(1))
        return torch.cat(found).double()

    @cached_property
    def _real(self) -> Tensor:
        # As many as are held out, so that the reference is of the same count.
        count = min(self.config.samples, len(self.real(self.config.samples)))
        return self._training(torch.Generator().manual_seed(0))[:count]

    def _training(self, rng: torch.Generator) -> Tensor:
        """Return up to 100,000 texts of the training data, in random order."""
        rows = torch.randperm(len(self.dataset), generator=rng)[:100_000]
        return self.ended(gather(self.dataset, rows, self.field.name)[0])

    @cached_property
    def _model(self) -> LanguageModel:
        config, rng, started = self.config, torch.Generator().manual_seed(1), time.perf_counter()
        tokens = self._training(rng)
        # A GAN training that is running must find the random state as it was.
        with torch.random.fork_rng(devices=[]), torch.enable_grad():
            torch.manual_seed(0)
            model = LanguageModel(self.field, embedding_dim=32, hidden_dim=config.hidden_dim)
            optimizer = torch.optim.Adam(model.parameters(), lr=_RATE)
            with Progress(config.steps, 0, quiet=self._quiet) as progress:
                for step in range(config.steps):
                    part = tokens[torch.randint(len(tokens), (_BATCH,), generator=rng)]
                    loss = -model.log_likelihood(part).sum() / model.counted(part).sum()
                    optimizer.zero_grad()
                    loss.backward()
                    optimizer.step()
                    optimizer.param_groups[0]["lr"] = _RATE * (1 - (step + 1) / config.steps)
                    figures = {}
                    if step % 50 == 49 or step == config.steps - 1:
                        pace = (step + 1) * _BATCH / (time.perf_counter() - started)
                        figures = {"samples_per_second": pace, "language_model/loss": loss.item()}
                    progress.advance(step + 1, figures)
        return model.eval().requires_grad_(False)
