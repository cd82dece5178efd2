"""``ganzoo data``, what is remembered of folders, data sets of Hugging Face, and real samples in run folders."""

import json
import os
import pickle

import numpy as np
import PIL.Image
import pytest
import torch
from conftest import tree

import ganzoo
from ganzoo import UserError
from ganzoo.cli import main
from ganzoo_plugins.datasets import folder as folders
from ganzoo_plugins.datasets import packing
from ganzoo_plugins.datasets.folder import Folder
from ganzoo_plugins.datasets.packing import Packing, pack_folder
from ganzoo_plugins.datasets.shards import Shards


@pytest.fixture(autouse=True)
def _cache(tmp_path, monkeypatch):
    monkeypatch.setenv("GANZOO_CACHE", str(tmp_path / "cache"))


def image(seed, height=12, width=10):
    return PIL.Image.fromarray(np.random.default_rng(seed).integers(0, 256, (height, width, 3), np.uint8))


def draw(root, count=12):
    for seed in range(count):
        path = root / ("cat", "dog")[seed % 2] / f"{seed:03d}.png"
        path.parent.mkdir(parents=True, exist_ok=True)
        image(seed).save(path)
    return root


def size_of(path):
    with PIL.Image.open(path) as found:
        return found.size


def test_headers_are_read_once_and_again_where_a_file_has_changed(tmp_path, monkeypatch):
    root = draw(tmp_path / "images")
    monkeypatch.setattr(folders, "_MANY", 1)
    (root / "cat" / "bad.png").write_bytes(b"none")
    read, real = [], Folder._measure
    monkeypatch.setattr(Folder, "_measure", lambda self, path: read.append(path.name) or real(self, path))

    def load():
        read.clear()
        return Folder(Folder.Config(path=root, size=8, memory=0))

    first = load()
    assert (len(read), len(first), first.skipped) == (13, 12, 1)
    again = load()
    assert (read, again.files, again.skipped) == (["bad.png"], first.files, 1)
    image(50, 20, 30).save(root / "cat" / "000.png")
    (root / "dog" / "001.png").unlink()
    image(51).save(root / "dog" / "new.png")
    assert len(load()) == 12
    assert sorted(read) == ["000.png", "bad.png", "new.png"]
    for path in (tmp_path / "cache" / "indices").iterdir():
        path.write_bytes(path.read_bytes()[: 200 + path.stat().st_size // 2])
    assert len(load()) == 12
    assert len(read) == 13


def test_a_packed_folder_has_what_the_network_would_have_seen(tmp_path):
    root = draw(tmp_path / "images")
    image(0).save(root / "dog" / "copy.bmp")
    (root / "cat" / "bad.jpg").write_bytes(b"none")
    before = tree(root)
    wanted = Folder(Folder.Config(path=root, size=8)).rows
    report = pack_folder(root, tmp_path / "out", Packing(size=(8, 8), format="bmp"), quiet=True)
    assert tree(root) == before
    assert (report["found"], report["written"], report["smallest"]) == (14, 12, (12, 10))
    assert report["copies"] == {os.path.join("dog", "copy.bmp"): os.path.join("cat", "000.png")}
    assert list(report["broken"]) == [os.path.join("cat", "bad.jpg")]
    assert report["classes"] == {"cat": 6, "dog": 6}
    found = Folder(Folder.Config(path=tmp_path / "out"))
    assert torch.equal(found.rows["x"], wanted["x"][:12])
    tars = pack_folder(root, tmp_path / "tars", Packing(size=(8, 8), tar=True), quiet=True)
    assert tars["written"] == 12
    packed = Shards(Shards.Config(path=str(tmp_path / "tars")))
    assert torch.equal(packed.rows["x"], found.rows["x"])
    assert torch.equal(packed.rows["y"], found.rows["y"])
    assert packed.spec["y"].names == ("cat", "dog")
    assert not list(tmp_path.glob(".*"))


@pytest.mark.parametrize("tar", [False, True])
def test_a_packing_that_was_stopped_goes_on(tmp_path, monkeypatch, tar):
    root = draw(tmp_path / "images")
    monkeypatch.setattr(packing, "_IMAGES", 4)
    monkeypatch.setattr(packing, "_AT_ONCE", 2)
    settings = Packing(size=(8, 8), tar=tar)
    pack_folder(root, tmp_path / "whole", settings, quiet=True)
    done, real = [], packing.attempted

    def stopped(work, numbers):
        done.extend(numbers)
        if len(done) == 8 and not resumed:
            raise KeyboardInterrupt
        return real(work, numbers)

    resumed = False
    monkeypatch.setattr(packing, "attempted", stopped)
    with pytest.raises(KeyboardInterrupt):
        pack_folder(root, tmp_path / "out", settings, quiet=True)
    assert not (tmp_path / "out").exists()
    resumed, done[:] = True, []
    pack_folder(root, tmp_path / "out", settings, quiet=True)
    assert done == list(range(4, 12))
    assert tree(tmp_path / "out") == tree(tmp_path / "whole")


@pytest.mark.parametrize(
    ("out", "settings", "problem"),
    [
        ("images/out", {}, "lie in each other"),
        (".", {}, "lie in each other"),
        ("full", {}, "not an empty folder"),
        ("out.tar", {}, r"OUT is a folder, and out\.tar the name of an archive; with --tar"),
        ("out", {"mode": "rgba", "format": "jpg"}, "no transparency"),
    ],
)
def test_what_cannot_be_packed_is_one_sentence(tmp_path, out, settings, problem):
    root = draw(tmp_path / "images", 2)
    (tmp_path / "full").mkdir()
    (tmp_path / "full" / "a").write_text("mine")
    with pytest.raises(UserError, match=problem):
        pack_folder(root, tmp_path / out, Packing(**settings), quiet=True)
    assert (tmp_path / "full" / "a").read_text() == "mine"


def test_nothing_but_broken_images_is_one_sentence(tmp_path):
    (tmp_path / "images").mkdir()
    (tmp_path / "images" / "a.png").write_bytes(b"none")
    with pytest.raises(UserError, match="no image in"):
        pack_folder(tmp_path / "images", tmp_path / "out", Packing(), quiet=True)
    assert not (tmp_path / "out").exists()


def test_images_that_would_meet_in_one_file_are_kept_apart():
    assert packing._places(["a.png", "a.jpg", "A.bmp", "a_.png"], "png") == ["a.png", "a_.png", "A__.png", "a___.png"]


def test_the_command_shows_any_kind_of_data(tmp_path, capsys, monkeypatch):
    monkeypatch.chdir(tmp_path)
    root = draw(tmp_path / "images")
    main(["data", "show", str(root), "--set", "data.size=8", "--out", "a.png", "--json"])
    found = json.loads(capsys.readouterr().out)
    assert (found["samples"], found["fields"][1]["classes"]) == (12, {"cat": 6, "dog": 6})
    assert size_of("a.png")[1] > size_of("a.png")[0], "two columns, as there are two classes"
    main(["data", "show", "gaussians", "--out", "b.png"])
    assert "x: points" in capsys.readouterr().out
    assert size_of("b.png") == (400, 400)
    for given, problem in ((["--set", "steps=3"], "a setting of the data"), (["--out", "a.jpg"], "a .png file")):
        with pytest.raises(SystemExit, match="2"):
            main(["data", "show", str(root), *given])
        assert problem in capsys.readouterr().err
    main(["data", "pack", str(root), "out", "--size", "8x6", "--quiet"])
    assert "12 of 12 images in out" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="2"):
        main(["data", "pack", str(root), "out2", "--size", "huge"])


def test_a_run_has_real_samples_beside_its_own(tmp_path):
    small = {"model": {"hidden": [8]}}
    run = ganzoo.train("gan_fc", data="digits", config=small, steps=1, out=tmp_path, quiet=True)
    assert size_of(run.path / "reals.png")[0] > 64


def test_data_sets_of_hugging_face(tmp_path, monkeypatch):
    pytest.importorskip("datasets.config")  # a folder of tests is called datasets too
    import datasets

    monkeypatch.setattr(datasets.config, "HF_DATASETS_CACHE", tmp_path / "hf")
    monkeypatch.setattr(datasets.config, "HF_HUB_OFFLINE", True)
    from ganzoo_plugins.datasets.hugging_face import HuggingFace

    datasets.disable_progress_bars()
    features = datasets.Features({"photo": datasets.Image(), "kind": datasets.ClassLabel(names=["a", "b"])})
    rows = {"photo": [image(seed) for seed in range(6)], "kind": [0, 1, 0, 1, 1, 1]}
    made = datasets.Dataset.from_dict(rows, features=features)
    (tmp_path / "empty").mkdir()
    made.save_to_disk(tmp_path / "disk")
    made.to_parquet(tmp_path / "files" / "x.parquet")
    for path in ("disk", "files", "files/x.parquet"):
        for settings in ({}, {"memory": 0}):
            data = HuggingFace(HuggingFace.Config(path=str(tmp_path / path), **settings))
            assert data.spec["y"].names == ("a", "b")
            batch = pickle.loads(pickle.dumps(data)).batch(torch.tensor([4, 0]), torch.Generator())
            assert batch["y"].tolist() == [1, 0]
            for found, seed in zip(batch["x"], (4, 0), strict=True):
                np.testing.assert_array_equal(found.permute(1, 2, 0), np.asarray(image(seed)))
    for settings, problem in (
        ({"image": "phot"}, "did you mean 'photo'"),
        ({"label": "none"}, "no label"),
        ({"path": "none/at-all"}, "cannot be opened"),
        ({"path": str(tmp_path / "none")}, "does not exist"),
        ({"path": str(tmp_path / "empty")}, r"no files of \.parquet"),
    ):
        with pytest.raises((UserError, ValueError), match=problem):
            HuggingFace(HuggingFace.Config(**{"path": str(tmp_path / "disk"), **settings}))
