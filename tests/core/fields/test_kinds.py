"""Sequences, tokens and tables: a GAN of each is trained, resumed, sampled, exported, and run without torch."""

from __future__ import annotations

import csv
import json
import shutil
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from conftest import Command
from kinds import installed
from PIL import Image as Pillow

import ganzoo
from ganzoo.testing import check
from ganzoo_exporters.web import write_page
from ganzoo_runtime import Generator, lines, stored, write_csv

MODELS = ("wave_gan", "token_gan", "token_reinforce", "table_gan")


@pytest.fixture(scope="module", autouse=True)
def plugin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[None]:
    with installed(tmp_path_factory.mktemp("kinds")):
        yield


@pytest.fixture(scope="module")
def runs(plugin: None, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Path]:
    """A run and a file of each model."""
    from ganzoo.cli import main

    found = {}
    for model in MODELS:
        folder = tmp_path_factory.mktemp(model)
        arguments = ("--steps", "4", "-q", "--device", "cpu", "--out", str(folder), "--set", "log_every=2")
        with suppress(SystemExit):
            main(["train", "-p", model, *arguments])
        (found[model],) = folder.iterdir()
        ganzoo.export(found[model], out=folder / "g.onnx")
    return found


@pytest.mark.parametrize("model", MODELS)
def test_the_kit_checks_it(model: str) -> None:
    check(model)


@pytest.mark.parametrize("name", ["tones", "words", "people"])
def test_the_kit_checks_its_data(name: str) -> None:
    check(f"dataset:{name}")


@pytest.mark.parametrize("model", MODELS)
def test_training_shows_samples_and_goes_on(model: str, runs: dict[str, Path], cli: Command, tmp_path: Path) -> None:
    shutil.copytree(runs[model], tmp_path / "run")
    (grid, *_) = sorted((tmp_path / "run" / "samples").glob("*.png"))
    with Pillow.open(grid) as image:
        assert image.size[0] > 100
        assert len(image.convert("L").getcolors()) > 1
    assert cli("train", "--resume", tmp_path / "run", "--steps", "6", "-q").code == 0
    rows = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert rows[-1]["step"] == 6


@pytest.mark.parametrize("model", MODELS)
def test_a_file_gives_what_torch_does_and_is_evaluated_by_metrics_of_its_kind_alone(
    model: str, runs: dict[str, Path], cli: Command
) -> None:
    generator, sampler = Generator(runs[model].parent / "g.onnx", providers=["cpu"]), ganzoo.load(runs[model])
    expected = sampler.sample(37, seed=5)
    np.testing.assert_allclose(generator.sample(37, seed=5), expected, atol=1e-5)
    assert generator.signature == sampler.metadata["signature"]
    assert ganzoo.Signature.from_json(generator.signature).output.shape == expected.shape[1:]
    assert ganzoo.load(runs[model].parent / "g.onnx").sample(1, seed=5).shape == (1, *expected.shape[1:])
    if model == "table_gan":
        figures = cli("eval", runs[model], "-n", "50").out
        assert "column_shapes/mean" in figures
        assert "ml_efficacy" not in figures  # nothing is held out
    elif model == "wave_gan":
        assert cli("eval", runs[model], "-n", "20").code == 0
    else:
        assert "bleu/bleu_2" in cli("eval", runs[model], "-n", "50").out


def rows_of(path: Path) -> list[dict[str, str]]:
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


@pytest.mark.parametrize("source", ["run", "file"])
def test_tables_are_written_with_their_columns(source: str, runs: dict[str, Path], cli: Command) -> None:
    model = runs["table_gan"] if source == "run" else runs["table_gan"].parent / "g.onnx"
    for suffix in ("csv", "jsonl", "npz", "npy", "png"):
        assert cli("sample", model, "-n", "70", "--seed", "3", "--out", f"a.{suffix}").code == 0
    arrays = dict(np.load("a.npz"))
    assert set(arrays) == {"z", "age", "height", "town"}
    assert arrays["age"].dtype == np.float32
    assert 0 <= arrays["age"].min() <= arrays["age"].max() <= 100
    assert set(arrays["town"]) <= {"Köln", "東京", "Oslo"}
    table = rows_of(Path("a.csv"))
    assert [row["town"] for row in table] == arrays["town"].tolist()
    assert np.array_equal(np.array([row["age"] for row in table], np.float32), arrays["age"])
    lines = [json.loads(line) for line in Path("a.jsonl").read_text(encoding="utf-8").splitlines()]
    assert [line["town"] for line in lines] == arrays["town"].tolist()
    assert list(lines[0]) == ["age", "height", "town"]
    assert np.array_equal(np.load("a.npy")["height"], arrays["height"])
    parquet = pytest.importorskip("pyarrow.parquet")
    assert cli("sample", model, "-n", "70", "--seed", "3", "--out", "a.parquet").code == 0
    assert parquet.read_table("a.parquet")["town"].to_pylist() == arrays["town"].tolist()
    cli("sample", model, "-n", "2", "--out", "folder").refused("table, not images")
    cli("sample", model, "-n", "2", "--out", "a.tar").refused("draws table, not images")


@pytest.mark.parametrize("model", ["token_gan", "token_reinforce"])
def test_tokens_are_written_as_whole_numbers_and_text(model: str, runs: dict[str, Path], cli: Command) -> None:
    for suffix in ("csv", "jsonl", "npz", "npy", "png", "txt"):
        assert cli("sample", runs[model], "-n", "70", "--seed", "3", "--out", f"a.{suffix}").code == 0
    arrays, letters = dict(np.load("a.npz")), " efhinortuvw"
    assert arrays["tokens"].dtype == np.int64
    assert arrays["tokens"].shape == (70, 5)
    raw = ganzoo.load(runs[model]).sample(70, seed=3)
    assert np.array_equal(arrays["tokens"], raw.argmax(-1))
    texts = ["".join(letters[index] for index in row) for row in arrays["tokens"]]
    assert arrays["text"].tolist() == texts
    assert [row["text"] for row in rows_of(Path("a.csv"))] == texts
    assert rows_of(Path("a.csv"))[7]["tokens_4"] == str(arrays["tokens"][7, 4])
    assert [json.loads(line)["text"] for line in Path("a.jsonl").read_text().splitlines()] == texts
    assert np.load("a.npy", mmap_mode="r")["text"].tolist() == texts
    assert Path("a.txt").read_text().split("\n") == [*texts, ""]
    printed = cli("sample", runs[model], "-n", "70", "--seed", "3")
    assert (printed.out.split("\n"), printed.err, Path("samples.png").exists()) == ([*texts, ""], "", False)
    assert len(cli("sample", runs[model]).out.splitlines()) == 32
    cli("sample", runs[model], "-n", "0").refused("-n")
    cli("sample", runs[model], "--label", "3").refused("label")


def test_sequences_are_written_as_they_are(runs: dict[str, Path], cli: Command) -> None:
    for suffix in ("csv", "jsonl", "npz", "npy", "png"):
        assert cli("sample", runs["wave_gan"], "-n", "9", "--label", "2", "--out", f"a.{suffix}").code == 0
    samples = ganzoo.load(runs["wave_gan"]).sample(9, label=2)
    assert samples.shape == (9, 2, 32)
    assert np.abs(samples).max() <= 2
    assert np.array_equal(np.load("a.npy"), samples)
    assert np.array_equal(np.load("a.npz")["samples"], samples)
    rows = rows_of(Path("a.csv"))
    assert {row["y"] for row in rows} == {"2"}
    assert np.array_equal(np.array([row["left"] for row in rows], np.float32).reshape(9, 32), samples[:, 0])
    assert json.loads(Path("a.jsonl").read_text().splitlines()[8])["sample"] == samples[8].flatten().tolist()


def test_the_runtime_stores_by_itself(runs: dict[str, Path], tmp_path: Path) -> None:
    generator = Generator(runs["table_gan"].parent / "g.onnx", providers=["cpu"])
    write_csv(tmp_path / "a.csv", generator.stream(5, seed=1), 5, generator.signature)
    found = stored(generator.sample(5, seed=1), generator.signature["output"])
    assert [row["town"] for row in rows_of(tmp_path / "a.csv")] == found["town"].tolist()


def test_a_web_page_shows_images_and_texts(runs: dict[str, Path], tmp_path: Path) -> None:
    for model, kind in (("wave_gan", "sequence"), ("table_gan", "table")):
        with pytest.raises(
            ganzoo.UserError, match=f"^the page shows images and texts, and the output .* of the kind '{kind}'$"
        ):
            write_page(runs[model].parent / "g.onnx", tmp_path)


def test_a_model_of_other_samples_is_refused(cli: Command) -> None:
    cli("train", "-p", "wave_gan", "--data", "words").refused("draws sequences, not tokens")
    cli("train", "-p", "gan_fc", "--data", "people").refused("not tables")
    cli("train", "-p", "table_gan", "--set", 'model.augment.policy=["color"]').refused("augmentation is for images")


def test_a_network_that_takes_series_is_shown_and_called_with_arrays(cli: Command, tmp_path: Path) -> None:
    check("smoother")
    outcome = cli("train", "-p", "smoother", "--steps", "2", "-q", "--device", "cpu")
    run = tmp_path / outcome.out.strip()
    assert (run / "samples" / "000002.png").is_file()
    ganzoo.export(run, out=tmp_path / "g.onnx")
    generator, sampler = Generator(tmp_path / "g.onnx", providers=["cpu"]), ganzoo.load(run)
    x = np.random.Generator(np.random.Philox(0)).uniform(-2, 2, (5, 2, 32)).astype(np.float32)
    np.testing.assert_allclose(generator(x), sampler(x), atol=1e-5)
    cli("sample", run, "--out", "a.npz").refused("it takes sequence 'x'; call it with arrays")
    cli("eval", run).refused("takes sequence, which evaluation can neither draw nor take from data")


def test_packing_joins_samples_of_each_kind(cli: Command, tmp_path: Path) -> None:
    for model in MODELS[:2] + MODELS[3:]:
        sets = ["--set", "model.pack=2", "--set", "loss.name=hinge", "--steps", "2", "-q"]
        outcome = cli("train", "-p", model, *sets, "--set", "batch_size=8")
        assert outcome.code == 0, outcome


def test_tokens_are_one_hot_for_networks(runs: dict[str, Path]) -> None:
    field: Any = ganzoo.Tokens(3, 4)
    seen = field.scaled((-1, 1))
    batch = torch.tensor([[0, 3, 1]])
    assert torch.equal(seen.encode(batch), torch.eye(4)[batch])
    assert torch.equal(seen.decode(seen.encode(batch)), batch)
    assert torch.equal(seen.encode(seen.encode(batch)), seen.encode(batch))
    assert stored(seen.encode(batch).numpy(), seen.to_json()).tolist() == batch.tolist()


def test_the_first_token_without_text_ends_a_sample() -> None:
    field: Any = ganzoo.Tokens(4, 3, ("", "a", "b"))
    assert field.padded
    assert not ganzoo.Tokens(4, 3, ("a", "", "b")).padded
    assert not ganzoo.Tokens(4, 3).padded
    found = field.stored(np.array([[1, 2, 0, 0], [1, 0, 2, 2], [0, 1, 1, 1], [2, 2, 1, 1]]))
    assert found["text"].tolist() == ["ab", "a", "", "bbaa"]
    words: Any = ganzoo.Tokens(2, 3, ("", " a", "b "))
    assert words.stored(np.array([[1, 1], [2, 1]]))["text"].tolist() == ["a a", "b  a"]
    assert found["tokens"][1].tolist() == [1, 0, 2, 2]


def test_a_sample_is_one_line() -> None:
    field: Any = ganzoo.Tokens(3, 4, ("", "a\n", "\\", " b"))
    assert lines(np.array([[1, 2, 3], [3, 0, 1], [0, 0, 0]]), field.to_json()) == ["a\\n\\\\ b", "b", ""]
    assert lines(np.eye(4)[None, [3, 1, 1]], ganzoo.Tokens(3, 4, encoded=True).to_json()) == ["3 1 1"]


def test_rows_that_do_not_fit_a_table_are_one_sentence() -> None:
    table = ganzoo.Table((ganzoo.Column("a", (0, 1)), ganzoo.Column("b", categories=("x", "y"))))
    for columns, words in (
        ({"a": [0.5]}, "no column 'b'"),
        ({"a": [1.5], "b": ["x"]}, "'a' has numbers outside of 0..1"),
        ({"a": [float("nan")], "b": ["x"]}, "'a' has numbers outside of 0..1"),
        ({"a": [0.5], "b": ["z"]}, "'b' has no category 'z'"),
        ({"a": ["much"], "b": ["x"]}, "'a' has values that are no numbers"),
        ({"a": [0.5], "b": ["x", "y"]}, r"'b' is \[2\]; each is \[N\], with the same N"),
        ({"a": 0.5, "b": ["x"]}, r"'a' is \[\]; each is \[N\]"),
    ):
        with pytest.raises(ganzoo.UserError, match=words):
            table.encoded(columns)
