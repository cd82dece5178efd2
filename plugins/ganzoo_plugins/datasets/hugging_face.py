"""Images of data sets of the Hugging Face library ``datasets``, from files on disk or by their name on the hub."""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any

import numpy as np
import torch
from numpy.typing import NDArray
from pydantic import AfterValidator, ByteSize, Field
from torch import Tensor

from ganzoo import Batch, GanzooError, Label, UserError, did_you_mean
from ganzoo.files import is_url, without_secrets
from ganzoo.images.reading import tell_skipped
from ganzoo_plugins.datasets.parquet_files import class_names, parquet_file, same_classes
from ganzoo_plugins.datasets.places import find, has_pattern
from ganzoo_plugins.datasets.remembered import recall, remember
from ganzoo_plugins.datasets.row_groups import RowGroups
from ganzoo_plugins.datasets.stored import (
    ImagesConfig,
    StoredImages,
    attempted,
    labels_of,
    same_size,
    sentence,
)

_CLASS = "ClassLabel"
_BINARY = ("binary", "large_binary")


def _located(place: str) -> str:
    """Return what lies on disk by its path from the root on, since a run may be resumed from another folder."""
    path = os.path.abspath(os.path.expanduser(place))
    if is_url(place):
        return place
    return path if os.path.exists(path) or place.startswith((".", "~", os.sep)) or has_pattern(place) else place


class HuggingFaceConfig(ImagesConfig):
    """Settings of :class:`HuggingFace`."""

    path: Annotated[str, AfterValidator(_located)] = Field(
        min_length=1,
        description="folder that save_to_disk wrote, folder or file of .parquet or .arrow, or name on the hub; "
        "with streaming a pattern or URL of .parquet too",
    )
    subset: str | None = Field(None, description="configuration of a data set on the hub that has several")
    split: str = Field("train", min_length=1, description="part of it, such as train or train[:10%]")
    image: str | None = Field(None, description="column of the images; if unset, the only one that has images")
    labels: bool = Field(True, description="take a column as classes")
    label: str | None = Field(
        None, description='column of the classes; if unset, the only one of the library\'s ClassLabel, or "label"'
    )
    streaming: bool = Field(
        False,
        description="read .parquet where it lies, a window of it at a time: nothing is copied to disk, and nothing is "
        "held in memory whatever data.memory says",
    )
    window: int = Field(2048, ge=1, description="images over which streaming shuffles; more take more memory")


class HuggingFace(StoredImages[HuggingFaceConfig]):
    """Images of a data set of the Hugging Face library (``pip install 'torch-ganzoo[hf]'``), in the order of its rows.

    Fields: ``x`` uint8 [N, C, H, W] in 0 .. 255, and with a column of classes ``y`` int64 [N]. The data is read
    map-style: Arrow files on disk, of which any row is read without the others, so that a training resumes exactly.
    Images are decoded as those of a folder are; what cannot be read is left out as there. No code of a data set is run.

    With ``streaming`` Parquet is read where it lies, on disk, behind a URL or on the hub, by :class:`RowGroups`: the
    order of an epoch depends on the seed alone there too, and says where each image is, so that a training enters it at
    any batch. An epoch shuffles the row groups, and the images over a window.
    """

    def __init__(self, config: HuggingFaceConfig) -> None:
        self.config = config
        self.place = without_secrets(config.path)
        data: Any = None if config.streaming else _opened(config)
        files, features = _streamed(config) if data is None else ((), data.features)
        self._image = _image_column(features, config)
        label = _label_column(features, config) if config.labels else None
        self._groups: RowGroups | None = None
        if data is None:
            self.config = config.model_copy(update={"memory": ByteSize(0)})
            self._groups = RowGroups(files, self._image, label, config.window)
            self.lengths, values, count = self._groups.sizes, self._groups.labels, len(self._groups)
        else:
            raw = data.features.from_dict({self._image: {"_type": "Image", "decode": False}})[self._image]
            self._data = data.cast_column(self._image, raw).select_columns([self._image])
            values, count = data[label][:] if label else [], len(data)
        if not count:
            raise UserError(f"{self.place} has no rows in {config.split}")
        self._rows = np.arange(count)
        problems = list[str]()
        sizes = self._measured(problems)
        self._rows = np.flatnonzero(sizes[:, 0])
        size = same_size(config, sizes[self._rows], self.called, self.place)
        self._rows = self._rows[self.hold(len(self._rows), size, problems)]
        tell_skipped(Path(config.path), (), problems, count)
        self.skipped = len(problems)
        self.describe("hf", len(self._rows), *self._labels(values, label, features))

    def source(self, index: int) -> Path | bytes:
        row = int(self._rows[index])
        found = self._data[row][self._image] if self._groups is None else self._groups[row]
        if isinstance(found, bytes):
            return found
        if found is None:
            raise UserError(f"{self.called(index)} is empty")
        content: bytes | None = found["bytes"]
        return Path(found["path"]) if content is None else content

    def order(self, rng: torch.Generator, rows: Tensor | None = None) -> Tensor:
        """Return the indices in a random order; with ``streaming``, one that reads what lies together at a time."""
        if self._groups is None:
            return super().order(rng, rows)
        order = self._groups.order(rng)
        if rows is None:
            return order
        wanted = torch.zeros(len(order), dtype=torch.bool)
        wanted[rows] = True
        return order[wanted[order]]

    def spread(self, n: int) -> Tensor:
        """Return the indices of up to ``n`` samples; with ``streaming``, of a window."""
        if self._groups is None:
            return super().spread(n)
        return self.order(torch.Generator().manual_seed(0))[:n]

    def stand_ins(self, n: int) -> Sequence[int]:
        return super().stand_ins(n) if self._groups is None else self.spread(n).tolist()

    @property
    def known(self) -> Batch:
        """The classes of all images; none with ``streaming``, where images that are chosen by it lie anywhere."""
        return {} if self._groups is not None else super().known

    def called(self, index: int) -> str:
        return f"row {self._rows[index]} of {self.place}"

    def file_of(self, index: int) -> str:
        return "" if self._groups is None else self._groups.file_of(int(self._rows[index]))

    def _measured(self, problems: list[str]) -> NDArray[np.int32]:
        """Return the height and width of each image, int32 [N, 2]: 0 where it cannot be read.

        With a size set, none is read for this: the library's rows are not as quick as files, and there may be millions.
        """
        if self.config.size is not None:
            return np.ones((len(self._rows), 2), np.int32)
        # The library's fingerprint is that of the content.
        key = ("hf", self._data._fingerprint, self._image, self.config.max_pixels)
        found = recall(*key).get("sizes")
        if found is not None and found.shape == (len(self._rows), 2):
            return np.asarray(found, np.int32)
        reader, sizes = self.config.reader(), np.zeros((len(self._rows), 2), np.int32)
        measured = attempted(lambda index: reader.size(self.source(index), self.called(index)), range(len(sizes)))
        for index, size in enumerate(measured):
            if isinstance(size, Exception):
                problems.append(sentence(self.called(index), size))
            else:
                sizes[index] = size
        if not problems:
            remember({"sizes": sizes}, *key)
        return sizes

    def _labels(
        self, values: Sequence[Any], label: str | None, features: Mapping[str, Any]
    ) -> tuple[Label | None, Tensor | None]:
        if label is None:
            return None, None
        kept = [values[row] for row in self._rows.tolist()]
        feature = features[label]
        if type(feature).__name__ == _CLASS:
            if all(isinstance(value, int) and 0 <= value < feature.num_classes for value in kept):
                return Label(feature.num_classes, tuple(feature.names)), torch.tensor(kept)
        elif all(isinstance(value, int | str) and not isinstance(value, bool) for value in kept):
            return labels_of([str(value) for value in kept], f"the column {label} of {self.place}")
        raise UserError(
            f"the column {label} of {self.place} does not say a class in every row; name another one with "
            "--set data.label=COLUMN, or leave the classes out with --set data.labels=false"
        )


def _opened(config: HuggingFaceConfig) -> Any:
    """Return the library's map-style data set."""
    try:
        import datasets
    except ImportError:
        raise UserError("the data set hf needs the package datasets; pip install 'torch-ganzoo[hf]'") from None
    place = config.path
    if is_url(place) or (has_pattern(place) and not os.path.exists(place)):
        kind = "URL" if is_url(place) else "pattern"
        raise UserError(f"{without_secrets(place)} is a {kind}, which is read with --set data.streaming=true")
    with _plain(config), _quiet(datasets):
        if not os.path.exists(place):
            if os.path.isabs(place):
                raise UserError(f"{place} does not exist")
            return datasets.load_dataset(place, name=config.subset, split=config.split)
        if os.path.isdir(place) and {"state.json", "dataset_dict.json"} & set(os.listdir(place)):
            found = datasets.load_from_disk(place)
            if isinstance(found, datasets.DatasetDict):
                if config.split not in found:
                    raise UserError(f"{place} has the splits {', '.join(found)}, and none {config.split!r}; name one "
                                    "with --set data.split=NAME")  # fmt: skip
                return found[config.split]
            return found
        inside = sorted(map(str, Path(place).rglob("*"))) if os.path.isdir(place) else [place]
        for kind in ("parquet", "arrow"):
            if files := [each for each in inside if each.endswith(f".{kind}")]:
                schemas = [_schema(each, kind) for each in files]
                features = datasets.Features.from_arrow_schema(schemas[0])
                if config.labels and (label := _label_column(features, config)):
                    same_classes(files, [class_names(schema, label) for schema in schemas], label)
                return datasets.load_dataset(
                    kind, data_files={config.split.partition("[")[0]: files}, split=config.split
                )
    raise UserError(
        f"{place} has no files of .parquet or .arrow and none of save_to_disk; images are read with --data FOLDER"
    )


def _schema(path: str, kind: str) -> Any:
    """Return the schema of a file of Parquet or of Arrow, which is a stream or a file."""
    if kind == "parquet":
        with parquet_file(Path(path)) as file:
            return file.schema_arrow
    from pyarrow import ArrowInvalid, OSFile, ipc

    with OSFile(path) as file:
        try:
            return ipc.open_stream(file).schema
        except ArrowInvalid:
            return ipc.open_file(file).schema


def _streamed(config: HuggingFaceConfig) -> tuple[Sequence[str], Mapping[str, Any]]:
    """Return the Parquet files and the library's features of their columns."""
    try:
        import datasets
    except ImportError:
        raise UserError("the data set hf needs the package datasets; pip install 'torch-ganzoo[hf]'") from None
    place, features = config.path, None
    if config.size is None:
        raise UserError("with data.streaming, images are not measured before they are used: say --set data.size=64")
    if "[" in config.split:
        raise UserError(f"a part of a split, as {config.split} is one, is read without data.streaming")
    if is_url(place) or os.path.exists(place) or has_pattern(place):
        files = find(place, ".parquet")
    elif os.path.isabs(place):
        raise UserError(f"{place} does not exist")
    else:
        with _plain(config), _quiet(datasets):
            builder = datasets.load_dataset_builder(place, name=config.subset)
        splits = builder.config.data_files or {}
        if config.split not in splits:
            raise UserError(f"{place} has the splits {', '.join(splits)}, and none {config.split!r}; name one with "
                            "--set data.split=NAME")  # fmt: skip
        files, features = list(map(str, splits[config.split])), builder.info.features
        if not all(each.endswith(".parquet") for each in files):
            raise UserError(
                f"{place} is not in Parquet files, which data.streaming reads; leave it out, or, if these are tar "
                f"files, take --data shards --set 'data.path=hf://datasets/{place}/*.tar'"
            )
    with parquet_file(files[0]) as file:
        return files, features or datasets.Features.from_arrow_schema(file.schema_arrow)


@contextmanager
def _plain(config: HuggingFaceConfig) -> Iterator[None]:
    """Turn whatever the library raises into one sentence."""
    try:
        yield
    except GanzooError:
        raise
    except Exception as error:  # it has errors of its own, of Arrow's, of the network's, of pandas'
        reason = " ".join(str(error).split())[:300] or type(error).__name__
        is_missing = "" if os.path.exists(config.path) else " is no folder or file here, and"
        raise UserError(f"{config.path}{is_missing} cannot be opened with the library datasets: {reason}") from None


@contextmanager
def _quiet(datasets: Any) -> Iterator[None]:
    """Keep the library's progress bars from between our lines."""
    hidden = datasets.are_progress_bars_disabled()
    datasets.disable_progress_bars()
    try:
        yield
    finally:
        if not hidden:
            datasets.enable_progress_bars()


def _image_column(features: Mapping[str, Any], config: HuggingFaceConfig) -> str:
    images = [name for name, feature in features.items() if _holds_images(feature)]
    if not images:
        images = [name for name, feature in features.items() if getattr(feature, "dtype", None) in _BINARY]
    return _chosen("image", config.image, images, list(features), config.path) or ""


def _holds_images(feature: Any) -> bool:
    """Return whether a column is the library's ``Image``, or laid out as one and written by another library."""
    return type(feature).__name__ == "Image" or (isinstance(feature, Mapping) and {"bytes", "path"} <= set(feature))


def _label_column(features: Mapping[str, Any], config: HuggingFaceConfig) -> str | None:
    classes = [name for name, feature in features.items() if type(feature).__name__ == _CLASS]
    if config.label is None and len(classes) != 1:
        return "label" if "label" in features else None
    return _chosen("label", config.label, classes, list(features), config.path)


def _chosen(what: str, wanted: str | None, found: list[str], columns: list[str], place: str) -> str:
    place = without_secrets(place)
    if wanted is not None:
        if wanted not in columns or (what == "image" and wanted not in found):
            has = f"{place} has the columns {', '.join(columns)}"
            raise UserError(f"{has}, and {wanted!r} is no {what} of it{did_you_mean(wanted, found or columns)}")
        return wanted
    if len(found) != 1:
        several = f"several of images ({', '.join(found)})" if found else "none of images"
        raise UserError(
            f"{place} has the columns {', '.join(columns)}, and {several}; name it with --set data.{what}=COLUMN"
        )
    return found[0]
