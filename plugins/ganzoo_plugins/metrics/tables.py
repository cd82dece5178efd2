"""Metrics of tables: how alike columns and pairs of columns are, and whether rows are copies."""

from abc import abstractmethod
from collections.abc import Mapping
from functools import cached_property
from itertools import combinations
from typing import Any, ClassVar

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ganzoo import Column, Dataset, Metric, MetricConfig, Table, UserError
from ganzoo_plugins.metrics.evaluator import gather

__all__ = ["ColumnPairs", "ColumnShapes", "DistanceToClosestRecord", "TableMetric"]

_ROWS = 50_000  # rows of the data that samples are compared with, at most
_COLUMNS = 100  # columns whose pairs are looked at
_BINS = 10
_DRAWS, _CHUNK = 20, 250

Rows = NDArray[Any]
"""Rows of a table as its field stores them, a structured array [N]."""


class TableMetric(Metric):
    """A metric that compares rows as they are stored with the data's; ``test`` are those that are held out, if any."""

    default_for = ("table",)

    def __init__(self, config: MetricConfig, dataset: Dataset) -> None:
        super().__init__(config, dataset)
        field = dataset.spec.sample
        if not isinstance(field, Table):
            raise UserError(f"it compares rows of tables, and {dataset.spec.name} holds {field.describe()}")
        self.field = field
        held: Tensor | None = getattr(dataset, "test", None)
        self.test = self.stored(held) if held is not None and len(held) else None

    def stored(self, rows: Tensor) -> Rows:
        """Return rows [N, D] as they are stored."""
        return self.field.stored(rows.numpy())

    @cached_property
    def training(self) -> Rows:
        """Rows of the training data, random ones if there are very many."""
        order = torch.randperm(len(self.dataset), generator=torch.Generator().manual_seed(0))[:_ROWS]
        (rows,) = gather(self.dataset, order.sort().values, self.field.name)
        return self.stored(rows)

    @abstractmethod
    def figures(self, rows: Rows) -> dict[str, float]:
        """Return the figures of these rows."""

    def __call__(self, samples: Tensor, condition: Mapping[str, Tensor]) -> dict[str, float]:
        """Return the figures of samples [N, D]."""
        return self.figures(self.stored(samples))

    def reference(self) -> dict[str, float]:
        """Return the figures of the rows that were held out."""
        return self.figures(self.test[: self.config.samples]) if self.test is not None else {}


class ColumnShapes(TableMetric):
    """How alike the distribution of each column is to the data's, 0 .. 1: ``mean`` and ``worst`` over the columns.

    Of numbers it is 1 minus the Kolmogorov-Smirnov statistic, of categories 1 minus the total variation distance
    (KSComplement and TVComplement of SDMetrics). ``missing`` is 1 minus the mean difference of the shares of missing
    numbers, where there are any.
    """

    better: ClassVar = {"": "higher"}

    def figures(self, rows: Rows) -> dict[str, float]:
        """Return ``mean``, ``worst`` and, where numbers may be missing, ``missing``."""
        scores, missing = [], []
        for column in self.field.columns:
            real, drawn = self.training[column.name], rows[column.name]
            if column.categories:
                scores.append(_alike(_shares(real, column), _shares(drawn, column)))
                continue
            if column.missing:
                missing.append(1 - abs(float(np.isnan(real).mean() - np.isnan(drawn).mean())))
            scores.append(_ks_complement(_present(real), _present(drawn)))
        found = {"mean": float(np.mean(scores)), "worst": float(min(scores))}
        return found | ({"missing": float(np.mean(missing))} if missing else {})


class ColumnPairs(TableMetric):
    """How alike the dependence of each two columns is to the data's, 0 .. 1: ``mean`` and ``worst`` over the pairs.

    Of two columns of numbers it is 1 minus half of the difference of their correlations (Pearson's; 0 where a column is
    constant); of others 1 minus the total variation distance of their joint shares, numbers in ten bins of equal width
    (CorrelationSimilarity and ContingencySimilarity of SDMetrics). Rows in which one of the two is missing are left
    out. The first 100 columns are looked at.
    """

    better: ClassVar = {"": "higher"}

    def __init__(self, config: MetricConfig, dataset: Dataset) -> None:
        super().__init__(config, dataset)
        if len(self.field.columns) < 2:
            raise UserError(f"it compares pairs of columns, and {dataset.spec.name} has one column")

    def figures(self, rows: Rows) -> dict[str, float]:
        """Return ``mean`` and ``worst``."""
        scores = [self._alike(rows, *pair) for pair in combinations(self.field.columns[:_COLUMNS], 2)]
        return {"mean": float(np.mean(scores)), "worst": float(min(scores))}

    def _alike(self, rows: Rows, first: Column, second: Column) -> float:
        if not (first.categories or second.categories):
            real, drawn = (_correlation(each[first.name], each[second.name]) for each in (self.training, rows))
            return 1 - abs(real - drawn) / 2
        tables = []
        for each in (self.training, rows):
            places = [_bins(each[column.name], column, self.training) for column in (first, second)]
            sizes = [len(column.categories) or _BINS for column in (first, second)]
            known = (places[0] >= 0) & (places[1] >= 0)
            joint = places[0][known] * sizes[1] + places[1][known]
            tables.append(np.bincount(joint, minlength=sizes[0] * sizes[1]) / max(1, len(joint)))
        return _alike(*tables)


class DistanceToClosestRecord(TableMetric):
    """Whether rows are copies: how far they are from the nearest row of the training data.

    A distance is the mean over the columns of the differences (Gower's): of numbers over the range of the data, of
    categories, and where one of two numbers is missing, 1. ``share`` is how many rows are nearer to training rows than
    to as many that were held out, the mean over random choices of these; a tie counts half. It is 0.5 of new rows and 1
    of copies. ``median`` is the median distance to all training rows, ``copies`` how many rows have the distance 0:
    where a table has few different rows, held-out ones have it too, and are the reference.
    """

    better: ClassVar = {"share": "as real", "median": "as real", "copies": "as real"}

    def __init__(self, config: MetricConfig, dataset: Dataset) -> None:
        super().__init__(config, dataset)
        if self.test is None:
            raise UserError(
                f"it compares distances with those to rows that are held out, and {dataset.spec.name} has none"
            )

    def figures(self, rows: Rows) -> dict[str, float]:
        """Return ``share``, ``median`` and ``copies``."""
        assert self.test is not None
        training, held = self.training, self.test[: len(self.training)]
        nearer, nearest = [], []
        random = np.random.Generator(np.random.Philox(0))
        chosen = [random.permutation(len(training))[: len(held)] for _ in range(_DRAWS)]
        for start in range(0, len(rows), _CHUNK):
            part = rows[start : start + _CHUNK]
            to_training, to_held = self._distances(part, training), self._distances(part, held).min(axis=1)
            for some in chosen:
                difference = to_held - to_training[:, some].min(axis=1)
                nearer.append((difference > 1e-9) + 0.5 * (np.abs(difference) <= 1e-9))
            nearest.append(to_training.min(axis=1))
        distances = np.concatenate(nearest)
        return {
            "share": float(np.concatenate(nearer).mean()),
            "median": float(np.median(distances)),
            "copies": float((distances <= 1e-9).mean()),
        }

    def reference(self) -> dict[str, float]:
        """Return the figures of the held-out rows; ``share`` is that of any new rows."""
        assert self.test is not None
        return self.figures(self.test[: self.config.samples]) | {"share": 0.5}

    def _distances(self, rows: Rows, others: Rows) -> NDArray[np.float64]:
        total = np.zeros((len(rows), len(others)))
        for column in self.field.columns:
            first, second = rows[column.name][:, None], others[column.name][None]
            if column.range is None:
                total += first != second
                continue
            apart = np.abs(first.astype(np.float64) - second) / (column.range[1] - column.range[0])
            total += np.where(np.isnan(first) & np.isnan(second), 0, np.nan_to_num(apart, nan=1))
        return total / len(self.field.columns)


def _present(values: Rows) -> Rows:
    return values[~np.isnan(values)]


def _shares(values: Rows, column: Column) -> NDArray[np.float64]:
    return np.array([(values == each).mean() for each in column.categories])


def _alike(first: NDArray[np.float64], second: NDArray[np.float64]) -> float:
    """Return 1 minus the total variation distance of shares."""
    return float(1 - np.abs(first - second).sum() / 2)


def _ks_complement(real: Rows, drawn: Rows) -> float:
    """Return 1 minus the largest difference of the shares of values that are not above a value."""
    if not (len(real) and len(drawn)):
        return float(len(real) == len(drawn))
    values = np.concatenate([real, drawn])
    shares = [np.searchsorted(np.sort(each), values, side="right") / len(each) for each in (real, drawn)]
    return float(1 - np.abs(shares[0] - shares[1]).max())


def _correlation(first: Rows, second: Rows) -> float:
    known = ~(np.isnan(first) | np.isnan(second))
    first, second = first[known].astype(np.float64), second[known].astype(np.float64)
    if len(first) < 2 or not (first.std() and second.std()):
        return 0.0
    return float(np.corrcoef(first, second)[0, 1])


def _bins(values: Rows, column: Column, training: Rows) -> NDArray[np.int64]:
    """Return the number of each value's category or bin; -1 where it is missing."""
    if column.categories:
        return np.searchsorted(column.categories, values, sorter=np.argsort(column.categories))
    known = _present(training[column.name])
    low, high = float(known.min()), float(known.max())
    places = np.floor((np.nan_to_num(values, nan=low) - low) / ((high - low) or 1) * _BINS).clip(0, _BINS - 1)
    return np.where(np.isnan(values), -1, places).astype(np.int64)
