"""How near drawn series are to real ones: their values, how these follow each other, and what is learned from them."""

from abc import abstractmethod
from collections.abc import Callable, Mapping
from functools import cached_property
from typing import ClassVar

import torch
from pydantic import Field
from torch import Tensor, nn
from torch.nn.functional import cross_entropy, mse_loss
from typing_extensions import TypeVar

from ganzoo import Dataset, Label, Metric, MetricConfig, Sequence, Signature, UserError
from ganzoo_plugins.metrics.evaluator import gather

__all__ = ["TSTR", "Autocorrelation", "Marginal", "autocorrelations", "wasserstein"]

Settings = TypeVar("Settings", bound=MetricConfig, default=MetricConfig, covariant=True)


class _OfSeries(Metric[Settings]):
    """A metric that holds series against one half of the data set, and the other half beside, always the same halves.

    At most ``samples`` of each are taken. Where windows overlap, the halves share steps, and the reference flatters.
    """

    default_for = ("sequence",)

    def __init__(self, config: Settings, dataset: Dataset) -> None:
        super().__init__(config, dataset)
        if not isinstance(dataset.spec.sample, Sequence):
            raise UserError(f"it compares series, and {dataset.spec.name} has {dataset.spec.sample.kind}")
        if len(dataset) < 2:
            raise UserError(f"it needs two series to compare, and {dataset.spec.name} has {len(dataset)}")

    def check(self, signature: Signature) -> None:
        """Refuse a network that draws anything else than such series."""
        super().check(signature)
        if signature.output.shape != self.dataset.spec.sample.shape:
            raise UserError(
                f"it compares series of the data's shape, and this model draws {signature.output.describe()}"
            )

    @cached_property
    def _halves(self) -> tuple[Tensor, Tensor]:
        """The numbers of series of both halves, int64 [N]."""
        half = len(self.dataset) // 2
        order = torch.randperm(len(self.dataset), generator=torch.Generator().manual_seed(0))
        n = min(self.config.samples, half)
        return order[:n], order[half : half + n]

    def _real(self, half: int) -> Tensor:
        (series,) = gather(self.dataset, self._halves[half], self.dataset.spec.sample.name)
        return series


class _Distance(_OfSeries[Settings]):
    """A distance for each channel; ``mean`` is that of all channels, ``worst`` the largest one."""

    better: ClassVar = {"": "lower"}

    def __call__(self, samples: Tensor, condition: Mapping[str, Tensor]) -> dict[str, float]:
        """Return the distance of series [N, C, L] from one half of the data set."""
        real = self._real(0).double()
        n = min(len(samples), len(real))  # equal counts, since the error of a distance depends on them
        found = self.compare(samples[:n].double(), real[:n])
        return {"mean": float(found.mean()), "worst": float(found.max())}

    def reference(self) -> dict[str, float]:
        """Return the distance of the two halves."""
        return self(self._real(1), {})

    @abstractmethod
    def compare(self, drawn: Tensor, real: Tensor) -> Tensor:
        """Return the distance of each channel, [C], of as many drawn as real series, float64 [N, C, L]."""


class Marginal(_Distance):
    """Wasserstein-1 distance of the values, whenever they occur, over the standard deviation of the real ones.

    For as many sorted numbers a and b it is the mean of |a_i - b_i|. 0 is best; 1 is that of a shift by one standard
    deviation.
    """

    def compare(self, drawn: Tensor, real: Tensor) -> Tensor:
        rows = [part.transpose(0, 1).flatten(1) for part in (drawn, real)]
        return wasserstein(*rows) / rows[1].std(1, correction=0).clamp(min=1e-12)


class Autocorrelation(_Distance):
    """Mean absolute difference of the autocorrelations at the lags 1 .. ``lags``, 0 .. 2; 0 is best.

    The autocorrelation at lag k is the mean over all series and steps of (x_t - m)(x_{t+k} - m), over the variance,
    with the mean m and the variance of the channel over all of them.
    """

    class Config(MetricConfig):
        """The settings of :class:`Autocorrelation`."""

        lags: int = Field(32, ge=1, description="largest lag, in steps; at most the length of the series less one")

    config: Config

    def compare(self, drawn: Tensor, real: Tensor) -> Tensor:
        return (autocorrelations(drawn, self.config.lags) - autocorrelations(real, self.config.lags)).abs().mean(1)


def wasserstein(a: Tensor, b: Tensor) -> Tensor:
    """Return the Wasserstein-1 distance of the numbers of each row, [C], for rows [C, N]."""
    return (a.sort(1).values - b.sort(1).values).abs().mean(1)


def autocorrelations(series: Tensor, lags: int) -> Tensor:
    """Return the autocorrelation of each channel at lags from 1 on, [C, lags], of series [N, C, L]."""
    centered = series - series.mean((0, 2), keepdim=True)
    variance = centered.square().mean((0, 2)).clamp(min=1e-24)
    length = series.shape[2]
    found = [
        (centered[:, :, : length - lag] * centered[:, :, lag:]).mean((0, 2)) / variance
        for lag in range(1, min(lags, length - 1) + 1)
    ]
    return torch.stack(found, 1)


class TSTR(_OfSeries[Settings]):
    """Train on synthetic, test on real: what a small network that learns from drawn series is worth on real ones.

    Of Esteban et al. (arXiv:1706.02633, section 4). If the series are drawn for a label of the data, the network is a
    classifier and ``accuracy`` is its share of right classes of held-out real series. Otherwise it predicts each step
    from the ``context`` steps before it, and ``error`` is the root mean squared error over the standard deviation of
    the channels: 1 is that of guessing the mean. The reference is that of the same network trained on real series.
    """

    better: ClassVar = {"accuracy": "higher", "error": "lower"}

    class Config(MetricConfig):
        """The settings of :class:`TSTR`."""

        steps: int = Field(300, ge=1, le=100_000, description="training steps of the network")
        context: int = Field(8, ge=1, description="steps that a prediction is made from")

    config: Config

    def __init__(self, config: Config, dataset: Dataset) -> None:
        super().__init__(config, dataset)
        self.label = next((field for field in dataset.spec.fields[1:] if isinstance(field, Label)), None)
        self._classified = False  # whether the last series were drawn for the label

    def __call__(self, samples: Tensor, condition: Mapping[str, Tensor]) -> dict[str, float]:
        """Return the figure of series [N, C, L]."""
        labels = None if self.label is None else condition.get(self.label.name)
        self._classified = labels is not None
        n = min(len(samples), len(self._halves[0]))  # what is learned from fewer is less
        return self._learn(samples[:n], None if labels is None else labels[:n])

    def reference(self) -> dict[str, float]:
        """Return the figure of real series in place of drawn ones."""
        return self._learn(self._real(0), self._labels(0) if self._classified else None)

    def _labels(self, half: int) -> Tensor:
        assert self.label is not None
        (labels,) = gather(self.dataset, self._halves[half], self.label.name)
        return labels

    def _learn(self, series: Tensor, labels: Tensor | None) -> dict[str, float]:
        """Train on these, and test on the second half."""
        real = self._real(1)
        # By the real ones' mean and deviation, so that what is learned is applied as it was.
        mean, deviation = real.mean((0, 2), keepdim=True), real.std((0, 2), keepdim=True, correction=0).clamp(min=1e-12)
        series, real = (series - mean) / deviation, (real - mean) / deviation
        with torch.random.fork_rng(devices=[]), torch.enable_grad():
            torch.manual_seed(0)
            if labels is not None:
                assert self.label is not None
                network = _classifier(series.shape[1], self.label.classes)
                self._train(network, series, labels, cross_entropy)
                right = network(real).argmax(1) == self._labels(1)
                return {"accuracy": float(right.double().mean())}
            past, following = self._steps(series)
            network = nn.Sequential(nn.Linear(past.shape[1], 64), nn.ReLU(), nn.Linear(64, series.shape[1]))
            self._train(network, past, following, mse_loss)
            past, following = self._steps(real)
            with torch.no_grad():
                return {"error": float((network(past) - following).double().square().mean().sqrt())}

    def _steps(self, series: Tensor) -> tuple[Tensor, Tensor]:
        """Return what every prediction is made from, [M, C * context], and what is right, [M, C]."""
        context = min(self.config.context, series.shape[2] - 1)
        windows = series.unfold(2, context + 1, 1).transpose(1, 2).flatten(0, 1)  # [M, C, context + 1]
        return windows[:, :, :-1].flatten(1), windows[:, :, -1]

    def _train(
        self, network: nn.Module, inputs: Tensor, targets: Tensor, loss: Callable[[Tensor, Tensor], Tensor]
    ) -> None:
        optimizer = torch.optim.Adam(network.parameters(), 3e-3)
        for _ in range(self.config.steps):
            rows = torch.randint(len(inputs), (256,))
            optimizer.zero_grad()
            loss(network(inputs[rows]), targets[rows]).backward()
            optimizer.step()


def _classifier(channels: int, classes: int) -> nn.Module:
    return nn.Sequential(
        nn.Conv1d(channels, 32, 5, stride=2, padding=2),
        nn.ReLU(),
        nn.Conv1d(32, 32, 5, stride=2, padding=2),
        nn.ReLU(),
        nn.AdaptiveMaxPool1d(1),
        nn.Flatten(),
        nn.Linear(32, classes),
    )
