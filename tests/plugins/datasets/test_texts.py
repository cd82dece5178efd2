"""Texts of one's own: how they are read, what tokens they become, and what is wrong with them in one sentence."""

import json
import logging
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

import ganzoo
from ganzoo import UserError
from ganzoo.testing import run_checks
from ganzoo_plugins.datasets.text import Text, TextConfig

LINES = ["a cat sat", "the cat ran", "the dog sat", "a dog ran, too", "don't"] * 4


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "animals.txt"
    path.write_text("\n".join(LINES), encoding="utf-8")
    return path


def read(path: Path, **settings: Any) -> Text:
    return Text(TextConfig(path=path, **{"held_out": 0, **settings}))


def texts(dataset: Text, rows: torch.Tensor | None = None) -> list[str]:
    rows = dataset.tensors["x"] if rows is None else rows
    found: list[str] = dataset.spec.sample.stored(rows.numpy())["text"].tolist()
    return found


@pytest.mark.parametrize("unit", ["character", "word", "byte_pair"])
def test_tokens_give_the_texts_back(file: Path, unit: str) -> None:
    if unit == "byte_pair":
        pytest.importorskip("tokenizers")
    dataset = read(file, unit=unit)
    assert texts(dataset) == LINES
    field: Any = dataset.spec.sample
    assert field.padded
    assert {"character": "a", "word": " cat", "byte_pair": " cat"}[unit] in field.tokens
    if unit == "word":
        assert field.tokens == ("", " a", " cat", " dog", " ran", " sat", " the", " don't", " too", ",")
    assert (dataset.dropped, dataset.unknown) == (0, 0)


def test_the_suite_of_checks(file: Path) -> None:
    results = list(run_checks(ganzoo.load_registry(), "dataset:text", [f"path={file}"]))
    assert {result.name for result in results if result.outcome != "passed"} == {"workers"}, results


def test_held_out_texts_are_not_learned_from(file: Path) -> None:
    dataset = read(file, held_out=0.2)
    assert (len(dataset), len(dataset.held_out)) == (16, 4)
    assert sorted(texts(dataset) + texts(dataset, dataset.examples(9)["x"])) == sorted(LINES)
    assert torch.equal(dataset.examples(2)["x"], dataset.held_out[:2])
    dataset.examples(2)["x"].zero_()
    assert dataset.held_out[:2].any()


def test_rare_and_long_are_counted(file: Path, caplog: pytest.LogCaptureFixture) -> None:
    with caplog.at_level(logging.WARNING, "ganzoo"):
        dataset = read(file, unit="word", vocabulary=9, length=3)
    assert dataset.dropped == 4  # "a dog ran, too"
    assert "left out for more than 3 tokens (data.length): 4 texts (20.0%)" in caplog.text
    assert dataset.spec.sample.tokens[:2] == ("", " \ufffd")  # type: ignore[attr-defined]
    assert dataset.unknown == 0  # " too" and "," alone are unknown
    caplog.clear()
    with caplog.at_level(logging.WARNING, "ganzoo"):
        dataset = read(file, unit="word", vocabulary=8)
    assert dataset.unknown == 12
    assert "12 of 60 tokens (20.00%) are unknown, since the vocabulary has 8" in caplog.text
    assert texts(dataset)[4] == "\ufffd"


def test_what_editors_leave_in_files(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    path = tmp_path / "odd.txt"
    path.write_bytes("\ufeffcafé\r\n\r\n  \n naïve \r\na\x0cb\n".encode())
    assert texts(read(path)) == ["café", "naïve", "a\ufffdb"]
    assert "1 of 12 tokens" in caplog.text
    path.write_bytes(b"a\n" + b"x" * 70_000 + b"\nb\n" + b"y" * 200_000)
    assert texts(read(path)) == ["a", "b"]
    assert ": 2 texts (50.0%)" in caplog.text


def test_folders_and_other_formats(tmp_path: Path) -> None:
    (tmp_path / "sub").mkdir()
    (tmp_path / "b.txt").write_text("three\n")
    (tmp_path / ".hidden.txt").write_text("never\n")
    (tmp_path / "notes.md").write_text("never\n")
    (tmp_path / "a.jsonl").write_text(json.dumps({"text": "one\ntwo"}) + "\n\n" + json.dumps("plain") + "\n")
    expected = ["one\ntwo", "plain", "three"]
    assert texts(read(tmp_path)) == expected
    arrow = pytest.importorskip("pyarrow")
    table = arrow.table({"text": ["four", None, "", "five"], "n": [1, 2, 3, 4]})
    pytest.importorskip("pyarrow.parquet").write_table(table, tmp_path / "sub" / "c.parquet")
    assert texts(read(tmp_path)) == [*expected, "four", "five"]
    with pytest.raises(UserError, match="has int64, not texts"):
        read(tmp_path / "sub" / "c.parquet", column="n")
    with pytest.raises(UserError, match=r"no column 'body'; name one with data.column: 'text', 'n'"):
        read(tmp_path / "sub" / "c.parquet", column="body")
    several = arrow.table([["a", "b"], ["c", "d"]], names=["text", "text"])
    pytest.importorskip("pyarrow.parquet").write_table(several, tmp_path / "sub" / "c.parquet")
    with pytest.raises(UserError, match=r"^\S*c.parquet has two columns of one name"):
        read(tmp_path)
    chosen = arrow.table({"text": arrow.array(["a", "b", "a"]).dictionary_encode(), "l": [["a"]] * 3})
    pytest.importorskip("pyarrow.parquet").write_table(chosen, tmp_path / "sub" / "c.parquet")
    assert texts(read(tmp_path / "sub" / "c.parquet")) == ["a", "b", "a"]
    with pytest.raises(UserError, match=r"^the column 'l' of \S* has list<.*>, not texts"):
        read(tmp_path / "sub" / "c.parquet", column="l")
    (tmp_path / "sub" / "c.parquet").write_bytes(b"PAR1 no")
    with pytest.raises(UserError, match="cannot be read as Parquet"):
        read(tmp_path)


@pytest.mark.parametrize(
    ("name", "content", "words"),
    [
        ("a.txt", b"", "has no text"),
        ("a.txt", b" \n\n", "has no text"),
        ("a.txt", b"x" * 70_000, "has no text of less than 65,536 bytes"),
        ("a.txt", b"alone\n", "has 1 text of at most 32 tokens, and two are needed"),
        ("a.txt", b"a b\n" + b"z" * 40, "the shortest has 3: raise data.length"),
        ("a.txt", "fine\ncaf\xe9\n".encode("latin1"), r"line 2 of .* is not UTF-8 text \(byte 0xe9\)"),
        ("a.txt", "\ufeffab".encode("utf-16"), r"line 1 of .* is not UTF-8 text \(it is UTF-16\); .* iconv -f utf-16 "),
        ("a.txt", b"fine\n\xff\xfe\n", r"line 2 of .* is not UTF-8 text \(byte 0xff\)"),
        ("a.txt", "ab\n".encode("utf-16-le"), "line 1 of .* has null bytes"),
        ("a.jsonl", b'{"text": "a"}\n{"text": \n', "line 2 of .* is not JSON"),
        ("a.jsonl", b'{"title": "a"}\n', "with a text 'text', and it has 'title'; name the text with data.column"),
        ("a.jsonl", b"{}\n", "it has nothing"),
        ("a.jsonl", b"[1]\n", "it is none"),
        ("a.jsonl", b"null\n", "it is none"),
        ("a.jsonl", b'{"text": 5, "n": 1}\n', "with a text 'text', and its 'text' is none"),
        ("a.jsonl", b"[" * 5000 + b"\n", "nested too deep|is not JSON"),
        ("a.docx", b"PK", "is none of .txt, .jsonl, .parquet"),
    ],
)
def test_what_is_no_text_is_one_sentence(tmp_path: Path, name: str, content: bytes, words: str) -> None:
    (tmp_path / name).write_bytes(content)
    with pytest.raises(UserError, match=words):
        read(tmp_path / name)


def test_what_is_not_there_is_one_sentence(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="there is no file or folder"):
        read(tmp_path / "gone.txt")
    with pytest.raises(UserError, match=r"there is no .txt, .jsonl, .parquet file in"):
        read(tmp_path)


def test_byte_pairs_are_asked_for_by_name(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "tokenizers", None)
    with pytest.raises(UserError, match=r"pip install torch-ganzoo\[text\]"):
        read(file, unit="byte_pair")


def test_byte_pairs_have_unknown_characters_too(tmp_path: Path) -> None:
    pytest.importorskip("tokenizers")
    path = tmp_path / "a.txt"
    path.write_text("\n".join(["abab abab"] * 9 + ["zq"]))
    dataset = read(path, unit="byte_pair", vocabulary=8)
    field: Any = dataset.spec.sample
    assert field.vocabulary <= 8
    assert dataset.unknown == 2
    assert texts(dataset)[0] == "abab abab"
    assert np.array_equal(dataset.tensors["x"], read(path, unit="byte_pair", vocabulary=8).tensors["x"])
