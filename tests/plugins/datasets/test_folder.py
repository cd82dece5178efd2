"""Folders of images."""

import json
import os
import pickle
import re

import numpy as np
import PIL.Image
import pytest
import torch
from data_sets import everything, load, mixed, noise, one, save
from pydantic import ValidationError

from ganzoo import Attributes, DataSpec, Image, Label, Stream, UserError
from ganzoo_plugins.datasets.folder import Folder


def test_subfolders_are_classes(tmp_path):
    for seed, name in enumerate(["cat/2.png", "cat/1.png", "dog/deep/er/3.PNG", "ape/0.png"]):
        save(tmp_path / name, noise(8, 6, seed=seed))
    (tmp_path / "empty").mkdir()
    (tmp_path / "cat" / "notes.txt").write_text("not an image")
    save(tmp_path / ".hidden" / "x.png")
    (tmp_path / "cat" / "._2.png").write_bytes(b"what a Mac leaves behind")
    dataset = load(tmp_path)
    batch = everything(dataset)
    assert dataset.spec.name == "folder"
    assert dataset.spec["y"] == Label(3, ("ape", "cat", "dog"))
    assert [file.replace(os.sep, "/") for file in dataset.files] == [
        "ape/0.png", "cat/1.png", "cat/2.png", "dog/deep/er/3.PNG",
    ]  # fmt: skip
    assert batch["y"].tolist() == [0, 1, 1, 2]
    assert dataset.in_memory
    assert dataset.skipped == 2  # the hidden ones
    for image, seed in zip(batch["x"], [3, 1, 0, 2], strict=True):
        np.testing.assert_array_equal(image.permute(1, 2, 0), np.asarray(noise(8, 6, seed=seed)))
    some = dataset.batch(torch.tensor([3, 0, 3]), torch.Generator())
    assert some["y"].tolist() == [2, 0, 2]
    assert torch.equal(some["x"], batch["x"][[3, 0, 3]])
    assert "y" not in load(tmp_path, labels=False).spec


@pytest.mark.parametrize("memory", [0, 1 << 20])
def test_a_table_of_attributes_takes_the_place_of_classes(tmp_path, memory, caplog):
    for seed, name in enumerate(["cat/1.png", "dog/2.png", "dog/3.png"]):
        save(tmp_path / name, noise(8, 6, seed=seed))
    (tmp_path / "dog" / "broken.png").write_bytes(b"none")
    table = tmp_path / "about" / "table.csv"
    table.parent.mkdir()
    lines = [
        "file,age, weight ", "dog/3.png, 3.5,-1", "", "cat/1.png,1,1e3", "dog/broken.png,0,0",
        "./dog/2.png,2,7", '"not, there.png",0,0',
    ]  # fmt: skip
    table.write_text("\r\n".join(lines), encoding="utf-8-sig")
    dataset = load(tmp_path, attributes="about/table.csv", memory=memory)
    assert [file.replace(os.sep, "/") for file in dataset.files] == ["cat/1.png", "dog/2.png", "dog/3.png"]
    wanted = [[1.0, 1000.0], [2.0, 7.0], [3.5, -1.0]]
    assert everything(dataset)["y"].tolist() == wanted
    assert dataset.spec["y"] == Attributes(2, ("age", "weight"), tuple(map(tuple, wanted)))
    assert dataset.batch(torch.tensor([2, 0]), torch.Generator())["y"].tolist() == [wanted[2], wanted[0]]
    assert DataSpec.from_json(json.loads(json.dumps(dataset.spec.to_json()))) == dataset.spec


def test_a_few_attributes_are_shown_from_all_over_the_folder(tmp_path):
    for number in range(40):
        save(tmp_path / f"{number:02}.png")
    (tmp_path / "t.csv").write_text("file,number\n" + "".join(f"{number:02}.png,{number}\n" for number in range(40)))
    examples = [row[0] for row in load(tmp_path, attributes="t.csv").spec["y"].examples]
    assert len(examples) == 16
    assert (examples[0], examples[-1]) == (0, 39)


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("file,age\na.png,1\n", "has no line for b.png"),
        ("file,age\n", "has no line for a.png and 1 more images"),
        ("file,age\na.png,1\n\nb.png,old\n", r"line 4 of .*t\.csv: age is 'old', which is not a number"),
        ("file,age\na.png,nan\n", "line 2 .* 'nan'"),
        ("file,age\na.png,1e39\n", "line 2 .* '1e39'"),
        ("file,age\na.png,\n", "line 2 .* ''"),
        ("file,age\na.png,1,2\n", "line 2 .* has 3 columns, the first line 2"),
        ("file,age\na.png\n", "line 2 .* has 1 column,"),
        ("file,age\na.png,1\na.png,2\n", "line 3 .* a.png is there a second time"),
        ("", "line 1 .* names the columns"),
        ("file\na.png\n", "line 1 .* names the columns"),
        ("file,age,age\n", "line 1 .* names the columns"),
        ('file,age\n"a.png,1\n', "is not CSV"),
        (b"file,age\n\xff.png,1\n", "is not UTF-8 text"),
    ],
)
def test_a_bad_table_is_the_users_mistake(tmp_path, text, problem):
    save(tmp_path / "a.png")
    save(tmp_path / "b.png")
    (tmp_path / "t.csv").write_bytes(text if isinstance(text, bytes) else text.encode())
    with pytest.raises(UserError, match=problem):
        load(tmp_path, attributes="t.csv")


def test_a_table_elsewhere_is_refused(tmp_path):
    save(tmp_path / "images" / "a.png")
    outside = tmp_path / "t.csv"
    outside.write_text("file,age\na.png,1\n")
    (tmp_path / "images" / "link.csv").symlink_to(outside)
    for name in ("../t.csv", str(outside), "link.csv"):
        with pytest.raises(UserError, match=r"is not in .*images"):
            load(tmp_path / "images", attributes=name)
    with pytest.raises(UserError, match=r"cannot read .*none.csv: No such file"):
        load(tmp_path / "images", attributes="none.csv")


@pytest.mark.parametrize("names", [["a.png", "b.png"], ["a.png", "cat/b.png", "dog/c.png"], ["cat/a.png"]])
def test_images_without_classes(tmp_path, names):
    for name in names:
        save(tmp_path / name)
    dataset = load(tmp_path)
    assert len(dataset) == len(names)
    assert list(everything(dataset)) == ["x"]


@pytest.mark.parametrize("suffix", ["png", "bmp", "gif", "tif", "tiff", "webp", "jpg", "jpeg", "JPG"])
def test_formats(tmp_path, suffix):
    plain = PIL.Image.new("RGB", (6, 8), (200, 100, 50))
    save(tmp_path / f"a.{suffix}", plain)
    np.testing.assert_allclose(one(tmp_path), np.broadcast_to([200, 100, 50], (8, 6, 3)), atol=4)


def test_the_first_frame_counts(tmp_path):
    frames = [PIL.Image.new("RGB", (6, 8), color) for color in ("red", "blue")]
    save(tmp_path / "a.gif", frames[0], save_all=True, append_images=frames[1:])
    np.testing.assert_array_equal(one(tmp_path)[0, 0], [255, 0, 0])


def test_grey(tmp_path):
    image = noise(8, 6)
    save(tmp_path / "a.png", image)
    dataset = load(tmp_path, mode="grey")
    assert dataset.spec.sample == Image(1, 8, 6, range=(0, 255))
    np.testing.assert_array_equal(everything(dataset)["x"][0, 0], np.asarray(image.convert("L")))


def test_transparency_is_laid_on_white(tmp_path):
    image = PIL.Image.new("RGBA", (2, 1), (0, 0, 0, 0))
    image.putpixel((1, 0), (255, 0, 0, 128))
    palette = PIL.Image.new("P", (2, 1))
    palette.putpalette([10, 20, 30, 40, 50, 60])
    palette.putpixel((1, 0), 1)
    save(tmp_path / "a.png", image)
    save(tmp_path / "b.png", PIL.Image.new("LA", (2, 1), (0, 0)))
    save(tmp_path / "c.png", palette, transparency=0)
    pixels = everything(load(tmp_path))["x"][:, :, 0].mT  # [image, column, channel]
    assert pixels[0].tolist() == [[255, 255, 255], [255, 127, 127]]
    assert pixels[1].tolist() == [[255, 255, 255]] * 2
    assert pixels[2].tolist() == [[255, 255, 255], [40, 50, 60]]


def test_sixteen_bits_are_scaled_and_not_clipped(tmp_path):
    save(tmp_path / "a.png", PIL.Image.fromarray(np.array([[0, 0x1234, 0x8000, 0xFFFF]], np.uint16)))
    assert one(tmp_path, mode="grey").ravel().tolist() == [0, 0x12, 0x80, 0xFF]


def test_black_and_white(tmp_path):
    save(tmp_path / "a.png", PIL.Image.fromarray(np.array([[False, True]])))
    assert one(tmp_path, mode="grey").ravel().tolist() == [0, 255]


@pytest.mark.parametrize("orientation", range(1, 9))
def test_a_rotation_mark_is_obeyed(tmp_path, orientation):
    upright = noise(8, 6)
    stored = {
        1: lambda a: a, 2: lambda a: a[:, ::-1], 3: lambda a: a[::-1, ::-1], 4: lambda a: a[::-1],
        5: lambda a: a.swapaxes(0, 1), 6: lambda a: np.rot90(a), 7: lambda a: np.rot90(a, 2).swapaxes(0, 1),
        8: lambda a: np.rot90(a, -1),
    }[orientation](np.asarray(upright))  # fmt: skip
    mark = PIL.Image.Exif()
    mark[0x0112] = orientation
    save(tmp_path / "a.png", PIL.Image.fromarray(np.ascontiguousarray(stored)), exif=mark)
    save(tmp_path / "b.png", upright)
    batch = everything(load(tmp_path))["x"]
    assert torch.equal(batch[0], batch[1])


def test_resizing(tmp_path):
    wide = np.zeros((4, 12, 3), np.uint8)
    wide[:, 4:8] = 255  # the middle square is white
    save(tmp_path / "a.png", PIL.Image.fromarray(wide))
    save(tmp_path / "b.png", PIL.Image.fromarray(wide.swapaxes(0, 1)))
    cropped = everything(load(tmp_path, size=8))["x"]
    assert tuple(cropped.shape) == (2, 3, 8, 8)
    assert cropped.min() > 150  # at the edge the filter sees the black beside it
    stretched = everything(load(tmp_path, size=[6, 9], resize="stretch"))["x"]
    assert tuple(stretched.shape) == (2, 3, 6, 9)
    assert stretched[0, 0, :, 0].max() == 0
    assert stretched[0, 0, :, 4].min() == 255
    assert stretched[1, 0, 0].max() == 0


def test_images_of_several_sizes_need_a_setting(tmp_path):
    save(tmp_path / "a.png", noise(8, 6))
    save(tmp_path / "b.png", noise(6, 8))
    with pytest.raises(UserError, match=r"a\.png is 8 high and 6 wide.*--set data\.size="):
        load(tmp_path)


def test_flip_is_drawn_from_the_streams_generator(tmp_path):
    image = save(tmp_path / "a.png")
    upright = torch.from_numpy(np.array(PIL.Image.open(image))).permute(2, 0, 1)
    indices, rng = torch.zeros(200, dtype=torch.int64), torch.Generator().manual_seed(0)
    batch = load(tmp_path, flip=True).batch(indices, rng)["x"]
    same = (batch == upright).flatten(1).all(1)
    assert (batch == upright.flip(2)).flatten(1).all(1).equal(~same)
    assert 70 < same.sum() < 130
    assert (load(tmp_path).batch(indices, rng)["x"] == upright).all()


@pytest.mark.parametrize("workers", [0, 2])
@pytest.mark.parametrize("settings", [{"size": 8, "flip": True}, {"size": [5, 7], "mode": "grey"}])
def test_lazy_equals_in_memory(tmp_path, settings, workers):
    whole, lazy = load(mixed(tmp_path), **settings), load(tmp_path, memory=10, **settings)
    assert (whole.in_memory, lazy.in_memory) == (True, False)
    assert whole.spec == lazy.spec
    assert pickle.loads(pickle.dumps(lazy)).spec == lazy.spec
    streams = [Stream(dataset, 3, seed=1, workers=workers) for dataset in (whole, lazy)]
    for _ in range(6):
        one, other = (next(stream) for stream in streams)
        assert torch.equal(one["x"], other["x"])
        assert torch.equal(one["y"], other["y"])


def test_mirrored_and_lazy_images_are_not_gathered_elsewhere(tmp_path):
    root = mixed(tmp_path)
    plain = load(root, size=8)
    assert plain.rows.keys() == {"x", "y"}
    assert load(root, size=8, flip=True).rows is None
    assert load(root, size=8, memory=10).rows is None
    assert load(root, size=8, labels=False).rows.keys() == {"x"}


def test_memory_is_compared_with_the_decoded_pixels(tmp_path):
    save(tmp_path / "a.png", noise(8, 6))
    assert load(tmp_path, memory=8 * 6 * 3).in_memory
    assert not load(tmp_path, memory=8 * 6 * 3 - 1).in_memory
    assert Folder.Config(path=tmp_path, memory="2KiB").memory == 2048
    with pytest.raises(ValidationError):
        Folder.Config(path=tmp_path, memory=-1)


@pytest.mark.parametrize(
    ("name", "problem"), [("missing", "does not exist"), ("file", "is not a folder"), ("empty", "there are no images")]
)
def test_a_bad_folder_is_the_users_mistake(tmp_path, name, problem):
    (tmp_path / "file").write_text("")
    (tmp_path / "empty").mkdir()
    with pytest.raises(UserError, match=f"{problem}|in {re.escape(str(tmp_path / name))}") as caught:
        load(tmp_path / name)
    assert problem in str(caught.value)
    assert str(tmp_path / name) in str(caught.value)


def test_symbolic_links_are_followed_and_rings_are_not(tmp_path):
    save(tmp_path / "elsewhere" / "a.png")
    images = tmp_path / "images"
    images.mkdir()
    (images / "link").symlink_to(tmp_path / "elsewhere")
    (images / "ring").symlink_to(images)
    (images / "b.png").symlink_to(tmp_path / "elsewhere" / "a.png")
    assert load(images).files == ("b.png", os.path.join("link", "a.png"))


def test_the_place_to_look_for_files_is_kept(tmp_path, monkeypatch):
    save(tmp_path / "images" / "a.png")
    monkeypatch.chdir(tmp_path)
    dataset = load("images", memory=0)
    monkeypatch.chdir("/")
    everything(dataset)


@pytest.mark.parametrize("settings", [{}, {"path": ".", "size": 0}, {"path": ".", "size": [1, 2, 3]}])
def test_impossible_folders_are_refused(settings):
    with pytest.raises(ValidationError):
        Folder.Config(**settings)
