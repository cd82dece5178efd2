"""Tables: of one's own, from a CSV or Parquet file, and four that scikit-learn ships."""

import re
import warnings
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any, ClassVar, Literal

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import Field
from torch import Tensor
from typing_extensions import TypeVar

from ganzoo import Column, DatasetConfig, DataSpec, Table, TensorDataset, UserError
from ganzoo_plugins.datasets.csv_files import MISSING, read_columns
from ganzoo_runtime.text import counted

__all__ = ["BreastCancer", "Diabetes", "Iris", "Rows", "RowsConfig", "TableFile", "TableFileConfig", "Wine", "mixture"]

Kind = Literal["number", "integer", "category", "drop"]

_FEW = 10  # different whole numbers up to which a column is one of categories
_LEAST, _COLUMNS = 10, 1000
_NUMBERS = 2**28  # of all encoded rows: a gigabyte
_FITTED = 10_000  # values that a mixture is fitted to
_ROWS_OF_A_MODE = 500  # a mode of fewer is a guess: of 350 rows, boosting learned less from ten modes than from one
_CODE = re.compile(r"[+-]?0\d")
_DIGITS = 10  # decimals up to which numbers are rounded like the data's


class RowsConfig(DatasetConfig):
    """Settings of every table."""

    held_out: float = Field(0.2, ge=0, lt=1, description="share of the rows that is kept from training, for metrics")
    split_seed: int = Field(0, ge=0, lt=2**32, description="which rows these are")
    modes: int = Field(
        10,
        ge=1,
        le=100,
        description="Gaussians, at most, that a column of numbers is normalized by; of few rows, one for each hundred",
    )
    max_categories: int = Field(100, ge=2, le=10_000, description="different texts, at most, of a column of categories")


class TableFileConfig(RowsConfig):
    """Settings of :class:`TableFile`."""

    path: Path = Field(description="a CSV file, UTF-8 with names in the first line, or a .parquet file")
    kinds: dict[str, Kind] = Field(
        {}, description="what columns are, by name, where it is not what is found: number, integer, category; or drop"
    )
    target: str = Field("", description="the column that ml_efficacy predicts from the others; left out: the last one")


Settings = TypeVar("Settings", bound=RowsConfig, default=RowsConfig, covariant=True)


class Rows(TensorDataset[Settings]):
    """Rows of a table.

    Fields: ``x``, float32 [N, D], a :class:`~ganzoo.Table`. A share of the rows is held out: ``test``, float32 [M, D],
    are these; ``target`` names the column that is predicted from the others. Ranges and categories are those of all
    rows, modes and shares those of the training's.
    """

    name: ClassVar[str]
    metrics = ("column_shapes", "column_pairs", "ml_efficacy", "distance_to_closest_record")
    test: Tensor
    target: str

    def __init__(
        self,
        config: Settings,
        place: str,
        cells: Mapping[str, Sequence[str]],
        kinds: Mapping[str, Kind],
        where: Callable[[int], str] = lambda row: f"row {row + 1}",
    ) -> None:
        self.config = config
        if not cells:
            raise UserError(f"{place} has no column left to learn from")
        size = len(next(iter(cells.values())))
        if size < _LEAST or len(cells) > _COLUMNS:
            raise UserError(
                f"{place} has {counted(size, 'row')} and {counted(len(cells), 'column')}; a table to learn from has at "
                f"least {_LEAST} rows and at most {_COLUMNS} columns"
            )
        order = np.random.Generator(np.random.Philox(config.split_seed)).permutation(size)
        held = round(config.held_out * size)
        training, test = np.sort(order[held:]), np.sort(order[:held])
        columns, values = [], {}
        for called, texts in cells.items():
            column, values[called] = _learned(called, texts, kinds.get(called), training, config, where)
            columns.append(column)
        field = Table(tuple(columns))
        if (most := size * field.shape[0]) > _NUMBERS:
            raise UserError(
                f"{place} has {size:,} rows that take {field.shape[0]:,} numbers each, {most:,} in all, more than the "
                f"limit of {_NUMBERS:,}; take fewer rows, columns or categories"
            )
        encoded = field.encoded(values)
        _distinguished(field, encoded[:_FITTED], values)
        rows = torch.from_numpy(encoded)
        self.test = rows[torch.from_numpy(test)]
        self.target = columns[-1].name
        super().__init__(DataSpec(self.name, (field,), len(training)), {"x": rows[torch.from_numpy(training)]})

    def content(self) -> Iterator[Tensor | bytes]:
        """Yield all rows."""
        yield from super().content()
        yield self.test


class TableFile(Rows[TableFileConfig]):
    """A table of one's own: a CSV or a Parquet file.

    A column whose cells are all numbers is one of numbers, and of whole numbers if these are; a column of at most ten
    different whole numbers, with a text that is no number, or with a number that begins with 0 as codes do, is one of
    categories. A number that is infinite or beyond 1e37 is refused. Cells of numbers may be empty, or
    say NA, NaN, null or none: a missing value. An empty text is a category of its own. What looks like a formula is a
    text; an apostrophe before it, which protects it from spreadsheets, is taken away. Dates are texts.
    """

    name = "table"

    def __init__(self, config: TableFileConfig) -> None:
        found = read_columns(config.path)
        names = {_unescaped(name): name for name in found.names}
        if len(names) < len(found.names):
            raise UserError(f"{config.path} has two columns of one name, but for an apostrophe before it")
        for name in [*config.kinds, *([config.target] if config.target else [])]:
            if name not in names:
                raise UserError(f"{config.path} has no column {name!r}; it has {', '.join(map(repr, names))}"[:1000])
        if config.kinds.get(config.target) == "drop":
            raise UserError(f"the column {config.target!r} is the target, and cannot be dropped")
        cells = {
            name: [_unescaped(text) for text in found.texts(called)]
            for name, called in names.items()
            if config.kinds.get(name) != "drop"
        }
        super().__init__(config, str(config.path), cells, config.kinds, found.where)
        self.target = config.target or self.target


class _Bundled(Rows):
    """A table that scikit-learn ships, the target last."""

    called: ClassVar[str]

    def __init__(self, config: RowsConfig) -> None:
        from sklearn import datasets

        options: dict[str, Any] = {"scaled": False} if self.name == "diabetes" else {}
        found = getattr(datasets, f"load_{self.name}")(**options)
        names = [name.removesuffix(" (cm)") for name in found["feature_names"]]
        target = found["target"].astype(int) if self.name == "diabetes" else found["target_names"][found["target"]]
        cells = {
            name: [str(each).removesuffix(".0") for each in column]
            for name, column in zip(names, found["data"].T.tolist(), strict=True)
        }
        super().__init__(config, self.name, {**cells, self.called: [str(each) for each in target]}, {})


class Iris(_Bundled):
    """150 iris flowers, 50 of each species: four lengths in cm, and the species."""

    name, called = "iris", "species"


class Wine(_Bundled):
    """178 wines of three growers: 13 chemical measurements, and the grower."""

    name, called = "wine", "grower"


class BreastCancer(_Bundled):
    """569 tumors: 30 measurements of their cells, and whether they are malignant."""

    name, called = "breast_cancer", "diagnosis"


class Diabetes(_Bundled):
    """442 patients: age, sex, 8 measurements, and how far the disease had gone a year later, 25 to 346."""

    name, called = "diabetes", "progression"


def _learned(
    name: str,
    texts: Sequence[str],
    kind: Kind | None,
    training: NDArray[np.int64],
    config: RowsConfig,
    where: Callable[[int], str],
) -> tuple[Column, NDArray[Any]]:
    """Return what a column is, and its values."""
    numbers = np.array([_number(text) for text in texts])
    present, wrong = np.isfinite(numbers), np.isinf(numbers)
    whole = bool((numbers[present] % 1 == 0).all())
    drop = f"leave the column out with --set data.kinds.{name}=drop"
    # Numbers that are too large among others are a mistake; "inf" beside texts may be a name.
    if wrong.any() and (kind in ("number", "integer") or (kind is None and not _texts(texts, wrong))):
        row = int(wrong.argmax())
        raise UserError(
            f"{where(row)}: {name} is {texts[row][:40]!r}, which is not a number up to 1e37; correct it, take the "
            f"column as a category, or {drop}"
        )
    if kind is None and (codes := np.array([bool(_CODE.match(text)) for text in texts])).any():
        wrong = codes  # 01067 is not 1067
    if kind == "integer" and not whole:
        row = int((present & (numbers % 1 != 0)).argmax())
        raise UserError(
            f"{where(row)}: {name} is {texts[row]}, which is no whole number; take --set data.kinds.{name}=number"
        )
    if not present.any() and not wrong.any():
        raise UserError(f"the column {name!r} is empty; {drop}")
    different = {*texts}
    few = len(np.unique(numbers[present])) <= (_FEW if whole else 1)
    if kind in ("number", "integer") or (kind is None and not wrong.any() and not few):
        if len(np.unique(numbers[present])) < 2:
            raise UserError(f"the column {name!r} has one number alone; take it as a category, or {drop}")
        seen = numbers[training][present[training]]
        low, high = float(numbers[present].min()), float(numbers[present].max())
        most = min(config.modes, max(1, len(seen) // _ROWS_OF_A_MODE))
        modes = mixture(seen, most) if len(np.unique(seen)) > 1 else ((1.0, low, high - low),)
        return Column(name, (low, high), (), modes, _decimals(texts), not present.all()), numbers
    if len(different) > config.max_categories:
        first = int(wrong.argmax())
        what = "begins with 0, as codes do" if _CODE.match(texts[first]) else "is no number"
        odd = f", and {texts[first][:40]!r} in {where(first)} {what}" if wrong.any() else ""
        raise UserError(
            f"the column {name!r} has {len(different):,} different texts, more than data.max_categories "
            f"({config.max_categories}){odd}; {drop}"
        )
    # Missing first, then numbers, then texts; nan has no place in an order, and which comes first would be chance.
    order = {text: _number(text) for text in different}
    categories = sorted(different, key=lambda text: (-np.inf if np.isnan(order[text]) else order[text], text))
    values = np.array(texts)
    shares = [round(float((values[training] == each).mean()), 6) for each in categories]
    return Column(name, categories=tuple(categories), shares=tuple(shares)), values


def mixture(values: NDArray[np.float64], most: int) -> tuple[tuple[float, float, float], ...]:
    """Return weights, means and standard deviations of a variational mixture of at most ``most`` Gaussians.

    With the settings of CTGAN's authors: a Dirichlet process whose concentration, 0.001, leaves few components, of
    which those of at least 0.5% are kept.
    """
    from sklearn.mixture import BayesianGaussianMixture

    some = np.random.Generator(np.random.Philox(0)).permutation(values)[:_FITTED]
    center, scale = float(some.mean()), float(some.std()) or 1.0
    model = BayesianGaussianMixture(
        n_components=min(most, len(np.unique(some))),
        weight_concentration_prior_type="dirichlet_process",
        weight_concentration_prior=0.001,
        random_state=0,
    )
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # that it has not converged: a mixture that is near will do
        model.fit(((some - center) / scale)[:, None])
    found = zip(model.weights_, model.means_[:, 0], model.covariances_[:, 0, 0], strict=True)
    return tuple(
        (round(float(weight), 6), float(f"{center + scale * mean:.9g}"), float(f"{scale * variance**0.5:.6g}"))
        for weight, mean, variance in found
        if weight >= 0.005
    )


def _distinguished(field: Table, rows: NDArray[np.float32], values: Mapping[str, NDArray[Any]]) -> None:
    """Refuse columns of which most different numbers are one and the same in ``rows``, outliers aside."""
    back = field.stored(rows)
    for column, part in field.parts():
        if column.range is not None:
            inside = np.abs(rows[:, part.start]) < 1
            before, after = (
                len(np.unique(each[: len(rows)][inside])) for each in (values[column.name], back[column.name])
            )
            if after < before / 2:
                raise UserError(
                    f"the column {column.name!r} has numbers from {column.range[0]:.9g} to {column.range[1]:.9g}, most "
                    "of which float32 cannot tell apart; correct the largest, choose another unit, or leave the "
                    f"column out with --set data.kinds.{column.name}=drop"
                )


def _texts(texts: Sequence[str], wrong: NDArray[np.bool_]) -> bool:
    """Return whether one of the ``wrong`` cells is no number at all."""
    for row in np.flatnonzero(wrong).tolist():
        try:
            float(texts[row])
        except ValueError:
            return True
    return False


def _number(text: str) -> float:
    """Return a cell as a number: nan if it is missing, an infinity if it is none."""
    if text.lower() in MISSING:
        return float("nan")
    try:
        value = float("inf") if "_" in text else float(text)  # "1_000" is a number to Python alone
    except ValueError:
        return float("inf")
    return value if abs(value) <= 1e37 else float("inf")


def _decimals(texts: Sequence[str]) -> int | None:
    """Return how many decimals the numbers have; None if these are no round numbers."""
    kept = [text for text in texts if text.lower() not in MISSING]
    if any("e" in text.lower() for text in kept):
        return None
    digits = max(len(text.partition(".")[2].rstrip("0")) for text in kept)
    return digits if digits <= _DIGITS else None


def _unescaped(text: str) -> str:
    return text[1:] if text[:1] == "'" and text[1:2] in ("=", "+", "-", "@") else text
