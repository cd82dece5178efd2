"""Parquet that is read where it lies: the order, resuming, processes, memory, and files and servers that fail."""

from __future__ import annotations

import io
import pickle
from collections import Counter

import numpy as np
import PIL.Image
import pytest
import torch

pytest.importorskip("datasets.config")  # a folder of tests is called datasets too
import datasets
from safetensors.torch import load_file
from torch.testing import assert_close

import ganzoo
from ganzoo import Stream, UserError
from ganzoo.cli import main
from ganzoo.data.dataset import content_hash
from ganzoo.data.shares import Share
from ganzoo.training.loop import Loop
from ganzoo_plugins.datasets.hugging_face import HuggingFace
from ganzoo_plugins.datasets.row_groups import RowGroups
from ganzoo_plugins.metrics.extractors import halves

pq = pytest.importorskip("pyarrow.parquet")

ROWS, EACH = 60, 7  # rows of a file, and of a row group: the last one has fewer


def pixels(row: int, height: int = 6, width: int = 8) -> np.ndarray:
    return np.random.default_rng(row).integers(0, 256, (height, width, 3), dtype=np.uint8)


def encoded(image: np.ndarray) -> dict[str, object]:
    buffer = io.BytesIO()
    PIL.Image.fromarray(image).save(buffer, "png")
    return {"bytes": buffer.getvalue(), "path": None}


def write(folder, files=3, rows=ROWS, each=EACH, names=("abc",) * 3, **more):
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(files):
        kind = datasets.ClassLabel(names=list(names[number]))
        features = datasets.Features({"photo": datasets.Image(), "kind": kind})
        here = range(number * rows, (number + 1) * rows)
        columns = {"photo": [encoded(pixels(row)) for row in here], "kind": [number % 3] * rows} | more
        table = datasets.Dataset.from_dict(columns, features=features).data.table
        pq.write_table(table, folder / f"train-{number:05d}-of-{files:05d}.parquet", row_group_size=each)
    return folder


@pytest.fixture(autouse=True)
def _own_cache(tmp_path, monkeypatch):
    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "cache")
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)


def opened(path, **settings):
    settings = {"size": (6, 8), "streaming": True, "window": 16} | settings
    return HuggingFace(HuggingFace.Config(path=str(path), **settings))


def test_a_stream_has_the_images_and_classes_of_map_style(tmp_path):
    write(tmp_path / "data")
    streamed, mapped = opened(tmp_path / "data"), opened(tmp_path / "data", streaming=False)
    assert streamed.spec == mapped.spec
    assert streamed.spec["y"].names == ("a", "b", "c")
    assert not streamed.in_memory
    rows = torch.tensor([179, 0, 62, 7, 6, 119])
    rng = torch.Generator()
    for name, tensor in streamed.batch(rows, rng).items():
        assert torch.equal(tensor, mapped.batch(rows, rng)[name])
    assert_close(streamed.batch(rows, rng)["x"][2].permute(1, 2, 0), torch.from_numpy(pixels(62)))
    assert content_hash(streamed) == content_hash(pickle.loads(pickle.dumps(streamed)))
    assert content_hash(streamed) != content_hash(opened(write(tmp_path / "other", kind=[2] * ROWS)))


def test_an_epoch_has_every_image_once_and_the_next_another_order(tmp_path):
    data = opened(write(tmp_path / "data"))
    first, second = (data.order(torch.Generator().manual_seed(seed)) for seed in (1, 2))
    for order in (first, second):
        assert torch.equal(order.sort().values, torch.arange(180))
    assert not torch.equal(first, second)
    assert torch.equal(first, data.order(torch.Generator().manual_seed(1)))
    some = torch.tensor([3, 170, 55, 4])
    found = data.order(torch.Generator().manual_seed(1), some)
    assert found.tolist() == [row for row in first.tolist() if row in some.tolist()]
    assert int((first.diff() == 1).sum()) < 40  # images of several row groups come together
    # Files are not read one after another: what is in order there is not in the training.
    assert len(set((first[:60] // ROWS).tolist())) == 3


def test_an_epoch_reads_each_row_group_once_and_holds_few(tmp_path, monkeypatch):
    data = opened(write(tmp_path / "data", each=4), window=20)
    read, held, inner = Counter[int](), list[int](), RowGroups._read

    def counted(self: RowGroups, number: int) -> object:
        read[number] += 1
        held.append(len(self._held))
        return inner(self, number)

    monkeypatch.setattr(RowGroups, "_read", counted)
    stream = Stream(data, 6, seed=5)
    next(stream)
    assert sum(read.values()) <= (20 + 4) // 4 + 2  # the first batch needs the first window alone
    for _ in range(29):
        next(stream)
    assert len(read) == 45
    assert set(read.values()) == {1}
    assert 4 * max(held) <= 2 * 20 + 4


def test_a_stream_is_entered_anywhere_and_shared_among_processes(tmp_path):
    write(tmp_path / "data")
    batches = [next(stream) for stream in [Stream(opened(tmp_path / "data", flip=True), 12, seed=3)] for _ in range(40)]
    for position in (0, 1, 14, 15, 33):  # in the first epoch, where it ends, and in the third
        entered = Stream(opened(tmp_path / "data", flip=True), 12, 3, position, workers=position % 2)
        for batch in batches[position : position + 3]:
            found = next(entered)
            assert all(torch.equal(batch[name], found[name]) for name in batch)
    parts = [Stream(opened(tmp_path / "data", flip=True), 12, 3, 14, share=Share(rank, 2)) for rank in range(2)]
    for batch in batches[14:17]:
        found = [next(part) for part in parts]
        assert all(torch.equal(batch[name], torch.cat([each[name] for each in found])) for name in batch)


def trained(path, out, steps=9, **more):
    config = {"model": {"hidden": [8]}, "data": {"size": [6, 8], "streaming": True, "window": 16}, "batch_size": 12}
    return ganzoo.train(
        "gan_fc", data="hf", sets=[f"data.path={path}", "checkpoint_every=3", "sample_every=100"], config=config,
        steps=steps, seed=1, out=out, quiet=True, device="cpu", **more
    )  # fmt: skip


def weights(run):
    networks = [load_file(path) for path in sorted(run.checkpoint().glob("*.safetensors"))]
    return {f"{number} {name}": each for number, found in enumerate(networks) for name, each in found.items()}


def test_what_cannot_be_read_ends_a_training_that_goes_on_to_the_same_bit(tmp_path, monkeypatch, caplog):
    files = sorted(write(tmp_path / "data").iterdir())
    undisturbed = weights(trained(tmp_path / "data", tmp_path / "undisturbed"))
    whole, advance = [path.read_bytes() for path in files], Loop.advance

    def damaging(loop):
        if loop.step == 4:
            for path, content in zip(files, whole, strict=True):
                path.write_bytes(content[:4] + b"\xff" * (len(content) * 3 // 4) + content[4 + len(content) * 3 // 4 :])
        advance(loop)

    with monkeypatch.context() as patch:
        patch.setattr(Loop, "advance", damaging)
        with pytest.raises(UserError, match=r"parquet cannot be read.*\(row group \d+\)$") as caught:
            trained(tmp_path / "data", tmp_path / "disturbed")
    assert "\n" not in str(caught.value)
    assert "takes its place" not in caplog.text
    for path, content in zip(files, whole, strict=True):
        path.write_bytes(content)
    (run,) = (tmp_path / "disturbed").iterdir()
    assert ganzoo.Run(run).checkpoint().name in ("step-000003", "step-000006")
    assert_close(weights(ganzoo.train(resume=run, quiet=True)), undisturbed, rtol=0, atol=0)


def test_the_hub_names_the_files_and_classes(tmp_path, monkeypatch):
    files = sorted(map(str, write(tmp_path / "data").iterdir()))
    local = datasets.load_dataset_builder("parquet", data_files={"train": files[:2], "test": files[2:]})
    local.info.features = datasets.Features(
        {"photo": datasets.Image(), "kind": datasets.ClassLabel(names=["x", "y", "z"])}
    )
    asked = []
    monkeypatch.setattr(datasets, "load_dataset_builder", lambda path, name: asked.append((path, name)) or local)
    data = opened("user/name", subset="small")
    assert asked == [("user/name", "small")]
    assert len(data) == 2 * ROWS
    assert data.spec["y"].names == ("x", "y", "z")
    assert len(opened("user/name", split="test")) == ROWS
    with pytest.raises(UserError, match="has the splits train, test, and none 'dev'"):
        opened("user/name", split="dev")
    local.config.data_files["train"][0] = files[0].replace(".parquet", ".tar")
    with pytest.raises(UserError, match="--data shards"):
        opened("user/name")


@pytest.mark.parametrize(
    ("settings", "problem"),
    [
        ({"size": None}, "say --set data.size"),
        ({"split": "train[:10%]"}, "without data.streaming"),
        ({"path": "missing"}, "does not exist"),
        ({"path": "empty"}, r"there are no \.parquet files"),
        ({"path": "text.parquet"}, "cannot be read as Parquet"),
        ({"image": "phot"}, "did you mean 'photo'"),
        ({"path": "other"}, "not kind as the others have"),
        ({"path": "unsaid"}, "does not say a class in every row"),
        ({"path": "none"}, "has no rows"),
    ],
)
def test_what_cannot_be_streamed_is_one_sentence(tmp_path, settings, problem):
    (tmp_path / "empty").mkdir()
    (tmp_path / "text.parquet").write_text("no table")
    if settings.get("path") == "other":
        files = sorted(write(tmp_path / "other", files=2).iterdir())
        pq.write_table(pq.read_table(files[1]).drop_columns(["kind"]), files[1])
    elif settings.get("path") == "unsaid":
        write(tmp_path / "unsaid", kind=[-1] * ROWS)
    elif settings.get("path") == "none":
        write(tmp_path / "none", rows=0)
    else:
        write(tmp_path / "data")
    with pytest.raises(UserError, match=problem):
        opened(**settings | {"path": str(tmp_path / settings.get("path", "data"))})


def test_row_groups_too_large_to_hold_are_refused(tmp_path, monkeypatch):
    from ganzoo_plugins.datasets import row_groups

    monkeypatch.setattr(row_groups, "_LARGEST", 1000)
    with pytest.raises(UserError, match=r"row groups of up to .* bytes"):
        opened(write(tmp_path / "data"))


@pytest.mark.parametrize("streaming", [True, False])
@pytest.mark.parametrize(
    ("names", "words"),
    [(("abc", "abc", "acb"), "class 1 .* is 'b' in"), (("abc", "abcd", "abc"), "class 3 .* is '' in")],
)
def test_files_that_name_the_classes_differently_are_refused(tmp_path, names, words, streaming):
    data = write(tmp_path / "data", names=names)
    with pytest.raises(UserError, match=rf"{words} .*train-00000-of-00003\.parquet and '[cd]' in .*train-0000[12]-of"):
        opened(data, streaming=streaming)
    assert "y" not in opened(data, streaming=streaming, labels=False).spec
    for path in data.iterdir():  # another library says no names
        table = pq.read_table(path)
        pq.write_table(table.replace_schema_metadata({}), path, row_group_size=EACH)
    assert opened(data, streaming=streaming, label="kind").spec["y"] == ganzoo.Label(3)


def test_arrow_files_are_compared_too(tmp_path):
    ipc = pytest.importorskip("pyarrow.ipc")
    for number, path in enumerate(sorted(write(tmp_path / "parquet", names=("abc", "abc", "cba")).iterdir())):
        table = pq.read_table(path)
        new = ipc.new_stream if number else ipc.new_file
        with new(str(tmp_path / f"{number}.arrow"), table.schema) as file:
            file.write_table(table)
    (tmp_path / "parquet").rename(tmp_path.with_name("elsewhere"))
    with pytest.raises(UserError, match=r"class 0 of the column kind is 'a' in .*0\.arrow and 'c' in .*2\.arrow"):
        opened(tmp_path, streaming=False)


def test_a_file_of_broken_images_is_named_soon(tmp_path):
    data = write(tmp_path / "data")
    bad = [{"bytes": encoded(pixels(row))["bytes"][:60], "path": None} for row in range(ROWS)]
    write(tmp_path / "bad", files=1, photo=bad)
    (tmp_path / "bad" / "train-00000-of-00001.parquet").replace(data / "train-00001-of-00003.parquet")
    streamed = opened(data)
    with pytest.raises(UserError, match=r"train-00001-of-00003\.parquet is damaged: 16 of the first 16 images"):
        streamed.batch(streamed.order(torch.Generator()), torch.Generator())


def test_a_broken_image_is_replaced_and_a_file_that_changes_is_not(tmp_path, caplog):
    folder = write(
        tmp_path / "data", files=1, photo=[{"bytes": b"no image", "path": None}] + [encoded(pixels(1))] * (ROWS - 1)
    )
    data = opened(folder)
    found = data.batch(torch.arange(3), torch.Generator())["x"]
    assert_close(found, torch.from_numpy(pixels(1)).permute(2, 0, 1).expand(3, -1, -1, -1))
    assert "row 0 of" in caplog.text
    data = opened(folder)
    write(folder, files=1, each=EACH - 1)
    with pytest.raises(UserError, match="has changed"):
        data.batch(torch.arange(3), torch.Generator())


def test_commands_and_metrics_work_with_a_window(tmp_path, monkeypatch, capsys):
    write(tmp_path / "data", each=3)
    read, inner = set(), RowGroups._read
    monkeypatch.setattr(RowGroups, "_read", lambda self, number: read.add(number) or inner(self, number))
    given = ["--set", f"data.path={tmp_path / 'data'}", "--set", "data.size=[6,8]", "--set", "data.streaming=true"]
    main(["data", "show", "hf", *given, "--set", "data.window=8", "--out", str(tmp_path / "a.png")])
    assert "180" in capsys.readouterr().out
    assert (tmp_path / "a.png").stat().st_size
    data = opened(tmp_path / "data", window=8)
    read.clear()
    data.examples(8)
    content_hash(opened(tmp_path / "data", window=8))
    reference, held_out = halves(data, 20)
    assert len(reference) == len(held_out) == 20
    assert len(read) < 45  # of 60


def test_columns_that_other_libraries_write_are_images_too(tmp_path):
    pandas = pytest.importorskip("pandas")
    rows = [encoded(pixels(row)) for row in range(12)]
    written = {"struct": [row | {"path": "a.png"} for row in rows], "bytes": [row["bytes"] for row in rows]}
    for name, column in written.items():
        path = tmp_path / f"{name}.parquet"
        pandas.DataFrame({"picture": column, "label": [0, 1] * 6}).to_parquet(path)
        for streaming in (True, False):
            found = opened(path, streaming=streaming).batch(torch.arange(12), torch.Generator())
            assert_close(found["x"][11].permute(1, 2, 0), torch.from_numpy(pixels(11)))
            assert found["y"].tolist() == [0, 1] * 6


def test_a_pattern_on_disk_is_found_and_located(tmp_path, monkeypatch):
    write(tmp_path / "data")
    monkeypatch.chdir(tmp_path)
    for pattern in ("data/train-0000{0..1}-of-00003.parquet", "data/*[01]-of-*.parquet"):
        data = opened(pattern)
        assert len(data) == 2 * ROWS
        assert data.config.path == str(tmp_path / pattern)  # so that it is found from another folder
        with pytest.raises(UserError, match=r"a pattern, which is read with --set data\.streaming=true"):
            opened(pattern, streaming=False)


def test_a_file_whose_column_has_no_images_is_refused(tmp_path):
    files = sorted(write(tmp_path / "data").iterdir())
    table = pq.read_table(files[1])
    pq.write_table(table.set_column(0, "photo", table["kind"]), files[1])
    with pytest.raises(UserError, match=r"00001-of-00003.parquet has no images in the column photo, but int64"):
        opened(tmp_path / "data")


def test_other_images_in_as_many_rows_are_noticed(tmp_path):
    data = opened(write(tmp_path / "data", files=1))
    write(tmp_path / "data", files=1, photo=[encoded(pixels(1))] * ROWS)
    with pytest.raises(UserError, match="has changed since it was opened"):
        data.batch(torch.arange(3), torch.Generator())


def test_what_is_neither_here_nor_on_the_hub_is_one_sentence():
    for streaming in (True, False):
        with pytest.raises(UserError, match="nosuch is no folder or file here, and cannot be opened with"):
            opened("nosuch", streaming=streaming)
