"""Images in a folder that cannot be used."""

import os
import shutil

import numpy as np
import PIL.Image
import pytest
import torch
from data_sets import everything, load, mixed, noise, save

from ganzoo import UserError


def cut_short(path):
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def test_corrupt_images_are_named_and_left_out(tmp_path, caplog):
    mixed(tmp_path)
    cut_short(tmp_path / "a" / "0.png")
    (tmp_path / "b" / "1.jpg").write_bytes(b"")
    (tmp_path / "b" / "x.png").write_bytes(b"GIF of a cat")
    (tmp_path / "c" / "gone.png").symlink_to(tmp_path / "nowhere.png")
    dataset = load(tmp_path, size=8)
    assert dataset.skipped == 4
    assert len(everything(dataset)["x"]) == 6
    assert dataset.spec["y"].classes == 3
    for name in ("0.png", "1.jpg", "x.png", "gone.png"):
        assert sum(name in record.getMessage() for record in caplog.records) == 1
    assert {record.name for record in caplog.records} == {"ganzoo"}


def test_a_lazy_image_found_corrupt_is_replaced_by_another(tmp_path, caplog):
    mixed(tmp_path)
    cut_short(tmp_path / "a" / "0.png")
    (tmp_path / "c" / "5.jpg").write_bytes(b"")  # seen at once, from its header
    dataset = load(tmp_path, size=8, memory=0)
    assert dataset.skipped == 1
    batch = everything(dataset)
    (taken,) = (index for index in range(1, len(dataset)) if torch.equal(batch["x"][0], batch["x"][index]))
    assert batch["y"][0] == batch["y"][taken]
    again = everything(load(tmp_path, size=8, memory=0))
    assert torch.equal(again["x"], batch["x"]), "the same one whenever it is read, as a resumed training needs"
    everything(dataset)
    assert caplog.text.count("0.png cannot be read") == 2, "once for each of the two"


def test_a_lazy_folder_of_which_half_is_corrupt_is_used_all_the_same(tmp_path, caplog):
    """Also where whole stretches of it are; every good image may stand in for a broken one."""
    for index in range(80):
        path = tmp_path / f"{'a' if index < 40 else 'z'}{index}.png"
        PIL.Image.new("RGB", (8, 8), (3 * index, 0, 0)).save(path)
        if index < 40:
            path.write_bytes(path.read_bytes()[:45])  # the header, and a little
    dataset = load(tmp_path, size=8, memory=0)
    found = everything(dataset)["x"]
    assert len(found) == 80
    assert len({tuple(each.flatten().tolist()) for each in found[:40]}) > 13
    assert len(caplog.records) == 9, "eight are named, and then that there are more"


def test_what_no_header_can_hide_is_left_out_at_once(tmp_path, caplog):
    mixed(tmp_path)
    PIL.Image.new("I", (8, 8), 70_000).save(tmp_path / "a" / "wide.tif")
    os.mkfifo(tmp_path / "b" / "pipe.png")
    assert load(tmp_path, size=8, memory=0).skipped == 2
    assert "no known range" in caplog.text
    assert "pipe.png: it is not a regular file" in caplog.text


def test_a_folder_that_disappears_while_training_is_one_sentence(tmp_path):
    dataset = load(mixed(tmp_path / "images"), size=8, memory=0)
    shutil.rmtree(tmp_path / "images")
    with pytest.raises(UserError, match="could not be read one after another"):
        dataset.batch(torch.tensor([0]), torch.Generator())


@pytest.mark.parametrize("memory", [0, 1 << 20])
def test_nothing_but_corrupt_images_is_the_users_mistake(tmp_path, memory):
    (tmp_path / "a.png").write_bytes(b"no")
    with pytest.raises(UserError, match=r"no image in .* can be used"):
        load(tmp_path, memory=memory)


def test_pixels_of_unknown_range_are_refused(tmp_path, caplog):
    save(tmp_path / "a.tif", PIL.Image.fromarray(np.ones((4, 4), np.float32)))
    save(tmp_path / "b.png", noise(4, 4))
    assert load(tmp_path).files == ("b.png",)
    assert "no known range" in caplog.text
