"""What is wrong with a sink is caught by the right check."""

from __future__ import annotations

import importlib
import itertools
import json
import math
import os
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from toys import Toys

from ganzoo.files import atomic_path
from ganzoo.plugin.registry import Registry

toy = Toys(__name__)


@pytest.fixture(scope="module")
def toys(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    with toy.registry(tmp_path_factory.mktemp("toys")) as registry:
        yield registry


def write(path: Path, pieces: Any) -> Path:
    """Write all samples, atomically."""
    with atomic_path(path) as temporary, temporary.open("wb") as file:
        for samples, _ in pieces:
            file.write(np.ascontiguousarray(samples).data)
    return path


@toy("sink")
def honest(path: Path, pieces: Any, n: int, signature: Mapping[str, Any]) -> Path:
    return write(path, pieces)


@toy("sink")
def only_images(path: Path, pieces: Any, n: int, signature: Mapping[str, Any]) -> Path:
    if signature["output"]["kind"] != "image":
        raise ValueError("it writes images")
    return write(path, pieces)


@toy("sink")
def two_files(path: Path, pieces: Any, n: int, signature: Mapping[str, Any]) -> Path:
    """It returns a pattern of what it writes."""
    found = list(pieces)
    for number, piece in enumerate(found):
        write(path.with_name(f"{path.stem}-{number}{path.suffix}"), [piece])
    return path.with_name(f"{path.stem}-*{path.suffix}")


@toy("sink")
def not_installed(path: Path, pieces: Any, n: int, signature: Mapping[str, Any]) -> Path:
    try:
        importlib.import_module("no_such_library")
    except ImportError:
        raise ValueError("it needs no_such_library") from None
    return write(path, pieces)


# --- function -------------------------------------------------------------------------------------------------------


@toy("sink", "function")
def too_few(path: Path, pieces: Any) -> Path:
    return write(path, pieces)


@toy("sink", "function")
def too_many(path: Path, pieces: Any, n: int, signature: Mapping[str, Any], quality: int) -> Path:
    return write(path, pieces)


@toy("sink", "function")
def by_name(*, path: Path, pieces: Any, n: int, signature: Mapping[str, Any]) -> Path:
    return write(path, pieces)


# --- signatures -----------------------------------------------------------------------------------------------------


def refusing(name: str, refused: Callable[[Mapping[str, Any]], bool]) -> None:
    def sink(path: Path, pieces: Any, n: int, signature: Mapping[str, Any]) -> Path:
        if refused(signature):
            raise ValueError("it does not write this")
        return write(path, pieces)

    sink.__name__ = name
    toy("sink", "signatures")(sink)


refusing("refuses_all", lambda signature: True)
refusing("refuses_color", lambda signature: signature["output"]["shape"][0] == 3)
refusing("refuses_labels", lambda signature: len(signature["inputs"]) > 1)
refusing("refuses_layouts", lambda signature: "layout" in signature["output"])


@toy("sink", "signatures")
def fails(path: Path, pieces: Any, n: int, signature: Mapping[str, Any]) -> Path:
    assert signature["output"]["range"]  # points have none
    return write(path, pieces)


# --- files ----------------------------------------------------------------------------------------------------------


@toy("sink", "files")
def returns_nothing(path: Path, pieces: Any, n: int, signature: Mapping[str, Any]) -> None:
    write(path, pieces)


@toy("sink", "files")
def returns_another(path: Path, pieces: Any, n: int, signature: Mapping[str, Any]) -> Path:
    write(path, pieces)
    return path.with_suffix(".other")


@toy("sink", "files")
def writes_nothing(path: Path, pieces: Any, n: int, signature: Mapping[str, Any]) -> Path:
    assert sum(len(samples) for samples, _ in pieces) == n
    return path


@toy("sink", "files")
def writes_empty(path: Path, pieces: Any, n: int, signature: Mapping[str, Any]) -> Path:
    list(pieces)
    path.touch()
    return path


# --- samples --------------------------------------------------------------------------------------------------------


@toy("sink", "samples")
def two_pieces(path: Path, pieces: Any, n: int, signature: Mapping[str, Any]) -> Path:
    return write(path, itertools.islice(pieces, 2))


@toy("sink", "samples")
def scales(path: Path, pieces: Any, n: int, signature: Mapping[str, Any]) -> Path:
    def scaled() -> Iterator[Any]:
        for samples, inputs in pieces:
            if not samples.dtype.names:
                np.multiply(samples, 2, out=samples, casting="unsafe")
            yield samples, inputs

    return write(path, scaled())


@toy("sink", "samples")
def counts_labels(path: Path, pieces: Any, n: int, signature: Mapping[str, Any]) -> Path:
    def counted() -> Iterator[Any]:
        for samples, inputs in pieces:
            for label in (inputs[each["name"]] for each in signature["inputs"] if each["kind"] == "label"):
                label += 1
            yield samples, inputs

    return write(path, counted())


# --- again ----------------------------------------------------------------------------------------------------------


@toy("sink", "again")
def appends(path: Path, pieces: Any, n: int, signature: Mapping[str, Any]) -> Path:
    whole = b"".join(np.ascontiguousarray(samples).tobytes() for samples, _ in pieces)
    with path.open("ab") as file:
        file.write(whole)
    return path


@toy("sink", "again")
def never_over(path: Path, pieces: Any, n: int, signature: Mapping[str, Any]) -> Path:
    if path.exists():
        raise FileExistsError(path)
    return write(path, pieces)


@toy("sink", "again")
def numbers_on(path: Path, pieces: Any, n: int, signature: Mapping[str, Any]) -> Path:
    return write(path.with_name(f"{path.stem}-{len(os.listdir(path.parent))}{path.suffix}"), pieces)


# --- failure --------------------------------------------------------------------------------------------------------


@toy("sink", "failure")
def in_place(path: Path, pieces: Any, n: int, signature: Mapping[str, Any]) -> Path:
    with path.open("wb") as file:
        for samples, _ in pieces:
            file.write(np.ascontiguousarray(samples).data)
    return path


@toy("sink", "failure")
def leaves_a_part(path: Path, pieces: Any, n: int, signature: Mapping[str, Any]) -> Path:
    part = path.with_name(f"{path.name}.part")
    in_place(part, pieces, n, signature)
    os.replace(part, path)
    return path


@toy("sink", "failure")
def keeps_it_quiet(path: Path, pieces: Any, n: int, signature: Mapping[str, Any]) -> Path:
    found = []
    try:
        found += [samples.tolist() for samples, _ in pieces] or [math.nan]
    except Exception:
        return path
    with atomic_path(path) as temporary:
        temporary.write_text(json.dumps(found, default=str))
    return path


# --------------------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("key", toy.offered)
def test_a_toy_is_caught_by_the_right_check(toys: Registry, key: str) -> None:
    toy.assert_caught(toys, key)


def test_every_check_has_three_toys() -> None:
    toy.assert_three_for_each("sink", "function", "signatures", "files", "samples", "again", "failure")


SENTENCES = {
    "too_few": r"is no function \(path, pieces, n, signature\): too many positional arguments",
    "refuses_color": "it writes some images and refuses images, 6 x 8, RGB, drawn for nothing: ValueError: it does not",
    "refuses_all": "it refuses whatever it is given",
    "fails": r"KeyError: 'range' \(test_checks_of_sinks.py, line",
    "returns_another": "it returns samples.other, and what it has written is samples.returns_another",
    "two_pieces": "it takes 2 of 3 pieces, so that samples are missing from the file",
    "appends": "writing a second time adds to samples.appends, where it is to take the first one's place",
    "in_place": "when drawing fails midway it leaves samples.in_place, which looks complete; write beside it and",
}


@pytest.mark.parametrize("key", SENTENCES)
def test_the_sentence_says_what_is_wrong(toys: Registry, key: str) -> None:
    toy.assert_said(toys, key, SENTENCES[key])
