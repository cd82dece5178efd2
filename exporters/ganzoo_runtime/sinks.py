"""Streams of samples into files, in constant memory.

    write_tar(Path("digits.tar"), generator.stream(1_000_000, seed=1), 1_000_000, generator.signature)

All take the same: the path, the pieces of a stream, how many samples these are together, and the signature. What is
written comes to its place when all of it is complete, and in place of what had the same names; what is returned names
it. Samples keep their number and the labels, attributes or captions that they were drawn for. Tokens are written as
whole numbers, with their text if the file says it, and tables with the names of their columns and categories. Images
say that a machine has made them; what else they say is the signature's entry ``provenance``, if it has one
(:func:`provenance`). Samples are numbered from the signature's entry ``first``, which is 0 unless they are a part of
more.

Several files are one whole. Where some of an earlier, larger whole would be left among them, nothing is written and
ValueError is raised: nobody could tell the two apart afterwards, and deleting is left to whom the files belong.
"""

from __future__ import annotations

import contextlib
import csv
import importlib
import io
import json
import os
import re
import tarfile
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from .captions import caption_text, is_caption
from .fields import lines, stored
from .images import encode_png, pixels
from .marking import provenance
from .text import counted
from .whole_files import complete, refuse_remains, together

__all__ = ["Pieces", "write_csv", "write_folder", "write_jsonl", "write_npy", "write_parquet", "write_tar", "write_txt"]

Pieces = Iterable[tuple[NDArray[Any], Mapping[str, NDArray[Any]]]]
"""Samples, [N, ...], and by name the inputs that they were drawn for, [N, ...] each."""

SHARD = 10_000
"""Samples in a .tar file; more go into several."""


def write_folder(path: Path, pieces: Pieces, n: int, signature: Mapping[str, Any]) -> Path:
    """Write images to ``path/000000.png`` and on."""
    _only_images(signature)
    claims = _claims(signature)
    new = not path.exists()
    path.mkdir(parents=True, exist_ok=True)
    numbered = re.compile(r"([0-9]{6,})\.png")
    found = sorted((int(match[1]), match[0]) for match in map(numbered.fullmatch, os.listdir(path)) if match)
    first = _first(signature)
    refuse_remains(
        path, [name for number, name in found if not first <= number < first + n], f"the {counted(n, 'image')}"
    )
    try:
        with together(path) as temporary:
            for number, image, _ in _images(pieces, signature):
                (temporary / f"{number:06d}.png").write_bytes(encode_png(image, claims))
    except BaseException:
        if new:  # a full disk leaves no empty folder
            with contextlib.suppress(OSError):
                path.rmdir()
        raise
    return path


def write_npy(path: Path, pieces: Pieces, n: int, signature: Mapping[str, Any]) -> Path:
    """Write the samples to one .npy file, which ``numpy.load(path, mmap_mode="r")`` opens as a memmap.

    Named columns make it a structured array.
    """
    with complete(path) as temporary, temporary.open("wb") as file:
        for samples, _ in pieces:
            samples = stored(samples, signature["output"])
            if not file.tell():
                descr = np.lib.format.dtype_to_descr(samples.dtype)
                header = {"descr": descr, "fortran_order": False, "shape": (n, *samples.shape[1:])}
                try:
                    np.lib.format.write_array_header_2_0(file, header)
                except UnicodeEncodeError:
                    raise ValueError("a .npy names columns in Latin letters alone: write another file") from None
            file.write(np.ascontiguousarray(samples).data)
    return path


def write_parquet(path: Path, pieces: Pieces, n: int, signature: Mapping[str, Any]) -> Path:
    """Write a Parquet file with a row for each sample: ``image``, a PNG file, or ``sample``, and labels or attributes.

    Samples with named columns have these in place of ``sample``.

    Raises ValueError if pyarrow is not installed.
    """
    try:
        arrow, parquet = importlib.import_module("pyarrow"), importlib.import_module("pyarrow.parquet")
    except ImportError:
        raise ValueError("Parquet files need pyarrow: pip install pyarrow") from None
    writer = None
    with complete(path) as temporary:
        try:
            for samples, inputs in pieces:
                # The type of numbers that may be missing is said, as those of one piece may all be.
                types = {name: "int64" if whole else "float64" for name, whole in _missing(signature).items()}
                columns = _columns(samples, inputs, signature)
                table = arrow.table({name: arrow.array(list(columns[name]), types.get(name)) for name in columns})
                writer = writer or parquet.ParquetWriter(temporary, table.schema)
                writer.write_table(table)
        finally:
            if writer is not None:
                writer.close()
    return path


def write_csv(path: Path, pieces: Pieces, n: int, signature: Mapping[str, Any]) -> Path:
    """Write a CSV file, UTF-8 with a header: a row for each sample, labels and attributes last.

    A column of vectors is one of numbers for each of their elements: ``sample_0``, ``sample_1`` ... A sequence has a
    row for each of its steps: ``sample`` and ``step``, which count from 0, and the channels. A missing number is
    an empty cell. A text that a spreadsheet would take for a formula, as it begins with =, +, - or @ and is no number,
    is written behind an apostrophe.
    """
    _no_images(signature)
    steps, first = signature["output"]["kind"] == "sequence", _first(signature)
    with complete(path) as temporary, temporary.open("w", encoding="utf-8", newline="") as file:
        writer = csv.writer(file)
        for samples, inputs in pieces:
            columns: dict[str, Sequence[str]] = {}
            found = _steps(samples, inputs, signature, first) if steps else _columns(samples, inputs, signature)
            first += len(samples)
            for name, values in found.items():
                if values.dtype.kind == "O":
                    values = np.where(values == None, "", values.astype(str))  # noqa: E711
                texts = values.reshape(len(values), -1).astype(str).T.tolist()  # the shortest that is the same float32
                if values.dtype.kind == "U":
                    texts = [[_harmless(text) for text in part] for part in texts]
                columns |= {f"{name}_{index}" if values.ndim > 1 else name: part for index, part in enumerate(texts)}
            if not file.tell():
                writer.writerow(map(_harmless, columns))
            writer.writerows(zip(*columns.values(), strict=True))
    return path


def write_jsonl(path: Path, pieces: Pieces, n: int, signature: Mapping[str, Any]) -> Path:
    """Write a file of JSON objects, a line for each sample, with its labels and attributes."""
    _no_images(signature)
    with complete(path) as temporary, temporary.open("w", encoding="utf-8") as file:
        for samples, inputs in pieces:
            columns = {name: values.tolist() for name, values in _columns(samples, inputs, signature).items()}
            for row in zip(*columns.values(), strict=True):
                file.write(f"{json.dumps(dict(zip(columns, row, strict=True)), ensure_ascii=False)}\n")
    return path


def write_txt(path: Path, pieces: Pieces, n: int, signature: Mapping[str, Any]) -> Path:
    """Write a text file, UTF-8 with a line for each sample of tokens; see :func:`ganzoo_runtime.fields.lines`."""
    if (kind := signature["output"]["kind"]) != "tokens":
        raise ValueError(f"this model draws {kind}, not text: write a .npy or a .parquet file")
    with complete(path) as temporary, temporary.open("w", encoding="utf-8", newline="\n") as file:
        for samples, _ in pieces:
            file.writelines(f"{line}\n" for line in lines(samples, signature["output"]))
    return path


def write_tar(path: Path, pieces: Pieces, n: int, signature: Mapping[str, Any]) -> Path:
    """Write images as a WebDataset: a .tar file, or, of more than ``SHARD`` images, ``name-000000.tar`` and on.

    A sample is a .png, and a .json with its labels, attributes and captions; a .cls holds the class, counted from 0,
    where there is one label. Returned is what ``webdataset.WebDataset`` takes, such as ``name-{000000..000099}.tar``.
    """
    _only_images(signature)
    claims = _claims(signature)
    labels = [field["name"] for field in signature["inputs"] if field["kind"] == "label"]
    images = _images(pieces, signature)
    shards = -(-n // SHARD)
    path.parent.mkdir(parents=True, exist_ok=True)
    places = [f"{path.stem}-{shard:06d}{path.suffix}" for shard in range(shards)] if shards > 1 else [path.name]
    ours = re.compile(rf"{re.escape(path.stem)}(-[0-9]{{6}})?{re.escape(path.suffix)}")
    remains = [name for name in sorted(os.listdir(path.parent)) if ours.fullmatch(name) and name not in set(places)]
    refuse_remains(path.parent, remains, f"the shards of {n:,} images" if shards > 1 else path.name)
    with together(path.parent) as temporary:
        for shard, place in enumerate(places):
            with tarfile.open(temporary / place, "w") as tar:
                for _ in range(min(SHARD, n - shard * SHARD)):
                    number, image, inputs = next(images)
                    _add(tar, f"{number:09d}.png", encode_png(image, claims))
                    if len(labels) == 1:
                        _add(tar, f"{number:09d}.cls", str(inputs[labels[0]]).encode())
                    if document := _conditions({name: each[None] for name, each in inputs.items()}, signature):
                        document = {name: values.tolist()[0] for name, values in document.items()}
                        _add(tar, f"{number:09d}.json", json.dumps(document).encode())
    return path if shards == 1 else path.with_name(f"{path.stem}-{{000000..{shards - 1:06d}}}{path.suffix}")


def _add(tar: tarfile.TarFile, name: str, content: bytes) -> None:
    info = tarfile.TarInfo(name)
    info.size = len(content)
    tar.addfile(info, io.BytesIO(content))
    tar.members.clear()  # type: ignore[attr-defined]  # tarfile would remember them all


def _images(
    pieces: Pieces, signature: Mapping[str, Any]
) -> Iterator[tuple[int, NDArray[np.uint8], dict[str, NDArray[Any]]]]:
    """Yield the number of each sample, its image [H, W, C], and its inputs."""
    number = _first(signature)
    for samples, inputs in pieces:
        for row, image in enumerate(_pixels(samples, signature)):
            yield number, image, {name: values[row] for name, values in inputs.items()}
            number += 1


def _pixels(samples: NDArray[Any], signature: Mapping[str, Any]) -> NDArray[np.uint8]:
    output = signature["output"]
    return pixels(samples, output["range"], output.get("layout", "NCHW"))


def _columns(
    samples: NDArray[Any], inputs: Mapping[str, NDArray[Any]], signature: Mapping[str, Any]
) -> dict[str, NDArray[Any]]:
    """Return a table of samples by the names of its columns, [N] or [N, any] each."""
    columns: dict[str, NDArray[Any]]
    if signature["output"]["kind"] == "image":
        claims = _claims(signature)
        columns = {"image": np.array([encode_png(image, claims) for image in _pixels(samples, signature)], object)}
    elif names := (samples := stored(samples, signature["output"])).dtype.names:
        columns = {name: samples[name] for name in names}
        for name, whole in _missing(signature).items():
            cells = [None if each != each else int(each) if whole else each for each in columns[name].tolist()]
            columns[name] = np.array(cells, object)
    else:
        columns = {"sample": samples.reshape(len(samples), -1)}
    for name, values in _conditions(inputs, signature).items():
        free = name
        while free in columns:  # a column of the sample may be called like a label
            free += "_"
        columns[free] = values
    return columns


def _first(signature: Mapping[str, Any]) -> int:
    return int(signature.get("first", 0))


def _claims(signature: Mapping[str, Any]) -> Mapping[str, str]:
    found: Mapping[str, str] = signature.get("provenance") or provenance({"signature": signature})
    return found


def _steps(
    samples: NDArray[Any], inputs: Mapping[str, NDArray[Any]], signature: Mapping[str, Any], first: int
) -> dict[str, NDArray[Any]]:
    """Return sequences, numbered from ``first``, as a table with a row for each step."""
    output = signature["output"]
    (n, (channels, length)), samples = (len(samples), output["shape"]), stored(samples, output)
    steps, number = np.tile(np.arange(length), n), np.repeat(np.arange(first, first + n), length)
    numbers: dict[str, NDArray[Any]] = {"sample": number, "step": steps}
    if samples.dtype.names:
        values = [(name, samples[name].reshape(-1)) for name in samples.dtype.names]
    else:
        known = output["names"] or [f"channel_{index}" for index in range(channels)]
        values = [(name, samples[:, index].reshape(-1)) for index, name in enumerate(known)]
    values += [(name, np.repeat(each, length, axis=0)) for name, each in _conditions(inputs, signature).items()]
    for name, column in values:  # a channel or a condition may be called like what stands before it
        while name in numbers:
            name += "_"
        numbers[name] = column
    return numbers


def _missing(signature: Mapping[str, Any]) -> dict[str, bool]:
    """Return the columns of a table whose numbers may be missing, and whether these are whole numbers."""
    columns = signature["output"].get("columns", ())
    return {column["name"]: column.get("decimals") == 0 for column in columns if column.get("missing")}


def _harmless(text: str) -> str:
    """Return the text of a cell such that no spreadsheet computes it."""
    if not text.startswith(("=", "+", "-", "@")):
        return text
    try:
        float(text)
    except ValueError:
        return f"'{text}"
    return text


def _conditions(inputs: Mapping[str, NDArray[Any]], signature: Mapping[str, Any]) -> dict[str, NDArray[Any]]:
    """Return labels and attributes by name, [N, ...], and captions as text.

    Attributes that are the categories of the samples themselves are left out.
    """
    columns = signature["output"].get("columns", ())
    own = {f"{column['name']}={each}" for column in columns for each in column.get("categories", ())}
    found = {}
    for field in signature["inputs"]:
        name, kind = field["name"], field["kind"]
        if kind == "label" or (kind == "attributes" and not (field["names"] and own >= {*field["names"]})):
            found[name] = inputs[name]
        elif is_caption(field):
            found[name] = np.array([caption_text(row, field) for row in inputs[name].tolist()], object)
    return found


def _only_images(signature: Mapping[str, Any]) -> None:
    if (kind := signature["output"]["kind"]) != "image":
        raise ValueError(f"this model draws {kind}, not images: write a .npy or a .parquet file")


def _no_images(signature: Mapping[str, Any]) -> None:
    if signature["output"]["kind"] == "image":
        raise ValueError("a file of text has no place for images: write a folder, or a .tar, .parquet or .npy file")
