"""Series: mixtures of sines that are made here, and windows of one's own series."""

import logging
import os
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import pairwise
from math import pi
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field, model_validator
from torch import Tensor

from ganzoo import Batch, Dataset, DatasetConfig, DataSpec, Label, Sequence, TensorDataset, UserError
from ganzoo.files import read_arrays
from ganzoo_plugins.datasets.csv_files import Columns, number, read_columns
from ganzoo_runtime.text import counted

__all__ = ["Series", "SeriesConfig", "Waves", "WavesConfig"]

_log = logging.getLogger("ganzoo")
_METRICS = ("marginal", "autocorrelation")
_MOST = 2**28  # numbers of a data set that is made here: 1 GiB
Positive = tuple[float, float]


class WavesConfig(DatasetConfig):
    """Settings of :class:`Waves`."""

    length: int = Field(64, ge=2, le=2**16, description="steps of a series")
    channels: int = Field(1, ge=1, le=64, description="channels, each a mixture of its own")
    sines: int = Field(2, ge=1, le=16, description="sines that are added up")
    frequency: Positive = Field((1.0, 6.0), description="lowest and highest number of periods in a series")
    amplitude: Positive = Field((0.3, 1.0), description="lowest and highest amplitude of a sine")
    noise: float = Field(0.02, ge=0, le=100, description="standard deviation of the noise that is added to each step")
    classes: int = Field(
        0, ge=0, le=100, description="classes, each a part of the frequencies from low to high; 0: none"
    )
    size: int = Field(10_000, ge=1, le=10_000_000, description="how many series the data set has")
    sample_seed: int = Field(0, ge=0, lt=2**63, description="seed of the series themselves")

    @model_validator(mode="after")
    def _sensible(self) -> "WavesConfig":
        for name, (low, high) in (("frequency", self.frequency), ("amplitude", self.amplitude)):
            if not 0 < low <= high <= 1e6:
                raise ValueError(f"{name} is a lowest and a highest number above 0, not {low:g} and {high:g}")
        if self.frequency[1] > self.length / 2:
            raise ValueError(
                f"{self.length} steps cannot show {self.frequency[1]:g} periods; two steps each are needed"
            )
        if self.size * self.channels * self.length * self.sines > _MOST:
            raise ValueError(f"size, channels, length and sines make more than {_MOST:,} numbers")
        return self


class Waves(TensorDataset[WavesConfig]):
    """Sums of sines with random amplitude, frequency and phase, a_k sin(2 pi (f_k t + p_k)) with t in 0..1, and noise.

    Fields: ``x`` float32 [N, C, L] in -1..1, its units those of the amplitudes; with classes ``y`` int64 [N].
    ``amplitude``, ``frequency`` (periods in a series) and ``phase`` (in turns), float32 [N, C, K] each, are the truth.
    All are uniform in their range; the frequencies of class i are those of the i-th of equal parts of the range.
    """

    metrics = _METRICS

    def __init__(self, config: WavesConfig) -> None:
        self.config = config
        rng = torch.Generator().manual_seed(config.sample_seed)
        shape = (config.size, config.channels, config.sines)
        labels = torch.randint(max(1, config.classes), (config.size,), generator=rng)
        share = (labels[:, None, None] + torch.rand(shape, generator=rng)) / max(1, config.classes)
        (low, high), (weak, strong) = config.frequency, config.amplitude
        self.frequency = low + share * (high - low)
        self.amplitude = weak + torch.rand(shape, generator=rng) * (strong - weak)
        self.phase = torch.rand(shape, generator=rng)
        time = torch.arange(config.length) / config.length
        x = torch.zeros(config.size, config.channels, config.length)
        for sine in range(config.sines):  # one after another: all at once would take as many times the memory
            frequency, phase = self.frequency[:, :, sine, None], self.phase[:, :, sine, None]
            x += self.amplitude[:, :, sine, None] * (2 * pi * (frequency * time + phase)).sin()
        x += config.noise * torch.randn(x.shape, generator=rng)
        most = float(x.abs().max())
        field = Sequence(config.channels, config.length, units=((-most, most),) * config.channels)
        tensors = {"x": x / most} | ({"y": labels} if config.classes else {})
        described = (Label(config.classes),) if config.classes else ()
        super().__init__(DataSpec("waves", (field, *described), config.size), tensors)


class SeriesConfig(DatasetConfig):
    """Settings of :class:`Series`."""

    path: Path = Field(description="file of the series: .csv, .parquet or .npy")
    columns: tuple[str, ...] | None = Field(
        None, min_length=1, description="columns that are the channels; unset: all that are not time, group or label"
    )
    length: int = Field(64, ge=2, le=2**16, description="steps of a window")
    stride: int = Field(1, ge=1, description="steps from a window to the next")
    time: str | None = Field(None, description="column of numbers or ISO dates that the rows are in the order of")
    group: str | None = Field(None, description="column that names the series of a row, where there are several")
    label: str | None = Field(None, description="column with the class of a row; a window has one class")


class Series(Dataset[SeriesConfig]):
    """Windows of ``length`` steps of one's own series, every ``stride`` steps.

    A .csv or .parquet file has a row for each step and a column for each channel; an .npy holds [T], [T, C] or, of
    several series, [N, C, T], whose channels are called ``channel_0`` and on. Fields: ``x`` float32 [N, C, length],
    each channel scaled from its lowest and highest value to -1..1, which are its units; with ``label`` also ``y`` int64
    [N], the classes in the order of their names.

    No window reaches over a gap: a row with a missing value, a step of ``time`` of more than 1.5 times the median step,
    or a change of ``group`` or ``label``. Rows that are therefore in no window are counted in a warning.
    """

    metrics = _METRICS

    def __init__(self, config: SeriesConfig) -> None:
        self.config = config
        path = Path(os.path.abspath(config.path.expanduser()))
        columns, broken = _numpy(path) if path.suffix.lower() == ".npy" else _table(path, config)
        special = [name for name in (config.time, config.group, config.label) if name is not None]
        names = config.columns or tuple(name for name in columns.names if name not in special)
        if not names or len(set(names)) < len(names):
            raise UserError(f"the series of {path} need a channel, and none twice: name them with data.columns")
        values = np.stack([columns.numbers(name) for name in names])
        units = tuple(_units(name, channel, path) for name, channel in zip(names, values, strict=True))
        low, high = np.array(units).T[..., None]
        self._series = torch.from_numpy(((values - low) / (high - low) * 2 - 1).astype(np.float32))
        self._starts = torch.from_numpy(_starts(np.asarray(np.isnan(values).any(axis=0)), broken, config, path))
        described: tuple[Label, ...] = ()
        self._y: Tensor | None = None
        if config.label is not None:
            labels = np.array(columns.texts(config.label))[self._starts.numpy()]
            known, numbers = np.unique(labels, return_inverse=True)
            described, self._y = (Label(len(known), tuple(known.tolist())),), torch.from_numpy(numbers.astype(np.int64))
        field = Sequence(len(names), config.length, names=names, units=units)
        self.spec = DataSpec("series", (field, *described), len(self._starts))

    def batch(self, indices: Tensor, rng: torch.Generator) -> Batch:
        """Cut the windows out; nothing is random."""
        steps = self._starts[indices][:, None] + torch.arange(self.config.length)
        x = self._series[:, steps].transpose(0, 1).contiguous()
        return {"x": x} if self._y is None else {"x": x, "y": self._y[indices]}

    def content(self) -> Iterator[Tensor | bytes]:
        """Yield the series, where windows begin, and their classes."""
        yield from (self._series, self._starts)
        yield from () if self._y is None else (self._y,)


def _numpy(path: Path) -> tuple[Columns, NDArray[np.bool_]]:
    """Return the channels of an array, and whether a series ends before each row."""
    found = read_arrays(path)
    array = found.get("", np.empty(0))
    if not (1 <= array.ndim <= 3 and array.size):
        raise UserError(f"{path} is no array of series: [T], [T, C] or [N, C, T]")
    array = array[:, None] if array.ndim == 1 else array
    each = array.shape[2] if array.ndim == 3 else len(array)
    channels = array.T if array.ndim == 2 else array.transpose(1, 0, 2).reshape(array.shape[1], -1)
    cells = {f"channel_{index}": channel for index, channel in enumerate(channels)}
    return Columns(path, cells, channels.shape[1]), np.arange(channels.shape[1]) % each == 0


def _table(path: Path, config: SeriesConfig) -> tuple[Columns, NDArray[np.bool_]]:
    """Return the columns of a file, and whether a series ends before each row."""
    columns = read_columns(path)
    broken = np.arange(columns.rows) == 0
    for name in (config.group, config.label):
        if name is not None:
            texts = np.array(columns.texts(name))
            if name == config.label and (texts == "").any():
                raise UserError(f"{columns.where(int((texts == '').argmax()))}: it has no {name}, its class")
            broken[1:] |= texts[1:] != texts[:-1]
    if config.time is not None:
        steps = np.diff(_times(columns, config.time))
        inside = ~broken[1:]
        if (wrong := inside & (steps <= 0)).any():
            row = int(wrong.argmax()) + 1
            raise UserError(
                f"{columns.where(row)}: its {config.time} is not after that of the row before; sort the rows, and if "
                "the file holds several series name with data.group the column that tells them apart"
            )
        if inside.any():
            broken[1:] |= steps > 1.5 * np.median(steps[inside])
    return columns, broken


def _times(columns: Columns, name: str) -> NDArray[np.float64]:
    """Return a column of numbers, or of dates as seconds; what has no time zone is taken as UTC."""
    texts = columns.texts(name)
    times = np.array([number(text) for text in texts])
    if not (known := np.isfinite(times)).all():
        times = np.array([_seconds(text) for text in texts])
        known |= np.isfinite(times)
    if not np.isfinite(times).all():
        row = int((np.isnan(times) if known.all() else ~known).argmax())
        raise UserError(
            f"{columns.where(row)}: its {name} is {texts[row][:40]!r}, neither a number nor a date such "
            "as 2026-01-31T12:00"
        )
    return times


def _seconds(text: str) -> float:
    try:
        time = datetime.fromisoformat(text)
        return (time if time.tzinfo else time.replace(tzinfo=UTC)).timestamp()
    except (ValueError, OverflowError):
        return float("nan")


def _units(name: str, values: NDArray[np.float64], path: Path) -> tuple[float, float]:
    """Return the lowest and the highest value of a channel."""
    known = values[~np.isnan(values)]
    if not len(known):
        raise UserError(f"the column {name!r} of {path} has no values; leave it out with data.columns")
    low, high = float(known.min()), float(known.max())
    if low == high:
        raise UserError(f"the column {name!r} of {path} is {low:g} everywhere; leave it out with data.columns")
    largest = max(-low, high)
    # Samples are float32: a small change of a large number would come out as steps.
    if largest > 1e38 or high - low < 1000 * np.spacing(np.float32(largest)):
        raise UserError(
            f"the column {name!r} of {path} has numbers from {low:.9g} to {high:.9g}, which float32 cannot tell apart "
            "or hold; subtract their mean, and choose another unit"
        )
    return low, high


def _starts(
    missing: NDArray[np.bool_], broken: NDArray[np.bool_], config: SeriesConfig, path: Path
) -> NDArray[np.int64]:
    """Return the first rows of the windows: no ``missing`` row is in one, and a ``broken`` row begins one."""
    rows, length = len(missing), config.length
    edges = np.flatnonzero(missing | broken | np.roll(missing, 1))
    runs = [(a, b) for a, b in pairwise((0, *edges.tolist(), rows)) if a < b and not missing[a]]
    longest = max((b - a for a, b in runs), default=0)
    if longest < length:
        raise UserError(
            f"{path} has {counted(longest, 'row')} in succession without a gap at most, and a window has {length}; set "
            "data.length to less, or fill the gaps"
        )
    parts = [np.arange(a, b - length + 1, config.stride) for a, b in runs if b - a >= length]
    short = sum(b - a for a, b in runs if b - a < length)
    if missing.any() or short:
        _log.warning(
            "%s: %s of %s rows are in no window: %s have a missing value, %s are less than %s in succession",
            *(path, f"{int(missing.sum()) + short:,}", f"{rows:,}", f"{int(missing.sum()):,}", f"{short:,}", length),
        )
    return np.concatenate(parts).astype(np.int64)
