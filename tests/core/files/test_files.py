"""Reading files: what each reader takes, and the sentence for what it does not."""

from __future__ import annotations

import io
import json
import os
import resource
import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from ganzoo.errors import UserError
from ganzoo.files import (
    append_line,
    open_regular,
    parse_json,
    read_arrays,
    read_bytes,
    read_csv,
    read_json,
    read_records,
    read_text,
    read_toml,
)

READERS: list[Callable[[Path], Any]] = [
    open_regular,
    read_bytes,
    read_text,
    read_toml,
    read_json,
    read_arrays,
    lambda path: list(read_csv(path)),
    lambda path: list(read_records(path)),
]


@pytest.mark.parametrize("reader", READERS)
def test_what_is_no_regular_file(reader: Callable[[Path], Any], tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    for path, words in (
        (tmp_path, "it is a folder"),
        (tmp_path / "fifo", "it is not a regular file"),
        (Path("/dev/zero"), "it is not a regular file"),
        (tmp_path / "nothing", "No such file"),
        (tmp_path / "null\0byte", "null byte"),
        (tmp_path / ("x" * 300), "name too long"),
    ):
        with pytest.raises(UserError, match=f"(?i)cannot read .*{words}"):
            reader(path)
    (tmp_path / "loop").symlink_to("loop")
    with pytest.raises(UserError, match="cannot read"):
        reader(tmp_path / "loop")


@pytest.mark.parametrize("reader", READERS[1:6])
def test_what_is_too_large(reader: Callable[[Path], Any], tmp_path: Path) -> None:
    with (tmp_path / "large").open("wb") as file:
        file.truncate(2**40)
    with pytest.raises(UserError, match=r"large|no arrays"):
        reader(tmp_path / "large")


def test_links_are_followed(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("\ufeffé", encoding="utf-8")
    (tmp_path / "b").symlink_to("a")
    assert read_text(tmp_path / "b") == "é"
    assert read_bytes(tmp_path / "b", most=5) == b"\xef\xbb\xbf\xc3\xa9"
    with pytest.raises(UserError, match="5 bytes, more than the limit of 4"):
        read_bytes(tmp_path / "b", most=4)
    with pytest.raises(UserError, match="more than 9 bytes"):
        read_bytes(Path("/proc/cpuinfo"), most=9)  # which says that it has none, as one does that is still growing
    (tmp_path / "a").write_bytes(b"\xff")
    with pytest.raises(UserError, match="is not UTF-8 text: invalid start byte at byte 0"):
        read_text(tmp_path / "b")


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("", "is not JSON"),
        ("{", "is not JSON"),
        ("[" * 200_000, "is not JSON: it is nested too deep"),
        ("[" * 33 + "]" * 33, "nested too deep"),
        ("9" * 10_000, "is not JSON"),
        ("18446744073709551616", "an integer of more than 64 bits"),
        ('{"a": [-18446744073709551616]}', "an integer of more than 64 bits"),
        (r'["\ud800"]', "a text that is none"),
        (r'{"\udfff": 1}', "a text that is none"),
    ],
)
def test_json_out_of_bounds(text: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "a.json").write_text(text)
    with pytest.raises(UserError, match=words) as caught:
        read_json(tmp_path / "a.json")
    assert len(str(caught.value)) < 400


def test_json_within_bounds() -> None:
    document = {"a": [1, -(2**63), 2**64 - 1, 0.5, None, True], "é\u200d": "\U0001f469\u200d\U0001f467"}
    assert parse_json(json.dumps(document), "x") == document
    assert parse_json("[" * 32 + "]" * 32, "x")
    assert parse_json("[Infinity]", "x") == [float("inf")]


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("a = ", "is not TOML"),
        ("a = " + "[" * 100_000, "nested too deep"),
        ("a = " + "[" * 33 + "]" * 33, "nested too deep"),
        ("a = " + "9" * 10_000, "is not TOML"),
        ("a = 18446744073709551616", "more than 64 bits"),
        (".".join("a" * 100_000) + " = 1", "nested too deep"),
        ("[" + " . ".join(['"a b"'] * 100_000) + "]", "nested too deep"),
        ("x" * 2_000_000, "is not TOML"),
        ('"' * 200_001, "is not TOML"),
    ],
)
def test_toml_out_of_bounds(text: str, words: str, tmp_path: Path) -> None:
    (tmp_path / "a.toml").write_text(text)
    began = time.process_time()
    with pytest.raises(UserError, match=words) as caught:
        read_toml(tmp_path / "a.toml")
    assert len(str(caught.value)) < 400
    assert time.process_time() - began < 5


def test_records(tmp_path: Path) -> None:
    lines = [
        b'{"step": 1}',
        b'{"step": 2, "cut',
        b"\xff\xfe",
        b"[" * 60_000,
        b"[3]",
        b'{"step": 4, "long": "' + b"x" * 200_000 + b'"}',
        b"x" * 2**16 + b'{"step": 9}',
        b'{"step": 5}\r',
        b"",
        b'{"step": 6}',
    ]
    (tmp_path / "a.jsonl").write_bytes(b"\n".join(lines))
    assert [row["step"] for row in read_records(tmp_path / "a.jsonl")] == [1, 5, 6]


def test_a_line_that_does_not_fit_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    append_line(path, "[1]")
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (7, before[1]))  # of the next line three bytes fit
    try:
        with pytest.raises(UserError, match=r"cannot write .*a\.jsonl: File too large"):
            append_line(path, "[2, 3]")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)
    assert path.read_text() == "[1]\n"
    append_line(path, "[2, 3]")
    assert path.read_text() == "[1]\n[2, 3]\n"


def test_tables(tmp_path: Path) -> None:
    path = tmp_path / "a.csv"
    path.write_bytes('\ufeffa,"b\nc"\r\n\r\n\n1,"x\u2028y"\n'.encode())
    assert list(read_csv(path)) == [(2, ["a", "b\nc"]), (5, ["1", "x\u2028y"])]
    for content, words in (
        (b'a\n"b', "is not CSV"),
        (b"a\n\xff\n", "line 2 of .* is not UTF-8"),
        (b'a\r\n"b\r\nc\xc3', "line 3 of .* is not UTF-8"),
        (b"x" * 200_000, "is not CSV"),
    ):
        path.write_bytes(content)
        with pytest.raises(UserError, match=words):
            list(read_csv(path))


def written(array: np.ndarray, version: tuple[int, int] = (1, 0)) -> bytes:
    file = io.BytesIO()
    np.lib.format.write_array(file, array, version=version)
    return file.getvalue()


@pytest.mark.parametrize("kind", ["<f4", ">f8", "<f2", "|b1", "<i8", "|u1"])
@pytest.mark.parametrize("shape", [(), (0,), (3,), (2, 3), (2, 0, 3)])
def test_arrays_are_what_numpy_reads(kind: str, shape: tuple[int, ...], tmp_path: Path) -> None:
    array = np.arange(np.prod(shape, dtype=int)).reshape(shape).astype(kind)
    for one in (array, np.asfortranarray(array)):
        np.save(tmp_path / "a.npy", one)
        np.savez_compressed(tmp_path / "a.npz", x=one, y=np.array(["text"]))
        for found in (read_arrays(tmp_path / "a.npy")[""], read_arrays(tmp_path / "a.npz", ("x", "z"))["x"]):
            np.testing.assert_array_equal(found, one)
            assert (found.dtype, found.shape) == (one.dtype, one.shape)
    (tmp_path / "b.npy").write_bytes(written(array, (2, 0)))
    np.testing.assert_array_equal(read_arrays(tmp_path / "b.npy")[""], array)


def header(text: str) -> bytes:
    return b"\x93NUMPY\1\0" + len(text).to_bytes(2, "little") + text.encode()


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "no arrays can be read"),
        (b"PK\3\4", "no arrays can be read"),
        (b"\x93NUMPY", "no arrays can be read"),
        (b"\x93NUMPY\3\0" + bytes(100), "its version is unknown"),
        (header("{'descr': '<f4', 'fortran_order': False, 'shape': (4,), }"), "it is cut short"),
        (header(f"{{'descr': '<f4', 'fortran_order': False, 'shape': ({2**40},), }}"), "more than"),
        (header(f"{{'descr': '<f4', 'fortran_order': False, 'shape': ({2**70}, 0), }}"), "no arrays"),
        (header("{'descr': '<f4', 'fortran_order': False, 'shape': (-1,), }"), "something else than numbers"),
        (header("{'descr': '|O', 'fortran_order': False, 'shape': (1,), }"), "something else than numbers"),
        (header("{'descr': '<U4', 'fortran_order': False, 'shape': (1,), }"), "something else than numbers"),
        (header("{'descr': '<f4', 'fortran_order': False, 'shape': (1L,), }"), "it is cut short"),
        (header("(" * 9_000), "no arrays"),
        (header("{'descr': '<f4'" + " " * 20_000), "no arrays"),
    ],
)
def test_arrays_out_of_bounds(content: bytes, words: str, tmp_path: Path) -> None:
    (tmp_path / "a.npy").write_bytes(content)
    with pytest.raises(UserError, match=words):
        read_arrays(tmp_path / "a.npy")
    with zipfile.ZipFile(tmp_path / "a.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("x.npy", content)
    with pytest.raises(UserError, match=words if content[:1] == b"\x93" else "no arrays"):
        read_arrays(tmp_path / "a.npz")
    assert read_arrays(tmp_path / "a.npz", ("y",)) == {}


def test_an_archive_that_is_a_bomb(tmp_path: Path) -> None:
    zeros = header(f"{{'descr': '|u1', 'fortran_order': False, 'shape': ({10**7},), }}") + bytes(10**7)
    with zipfile.ZipFile(tmp_path / "a.npz", "w", zipfile.ZIP_DEFLATED) as archive:
        for name in "xyz":
            archive.writestr(f"{name}.npy", zeros)
    with pytest.raises(UserError, match="more than 5,000,000 bytes"):
        read_arrays(tmp_path / "a.npz", most=25 * 10**6)
    assert set(read_arrays(tmp_path / "a.npz", ("x", "y"), most=25 * 10**6)) == {"x", "y"}
