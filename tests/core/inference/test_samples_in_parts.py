"""Samples in parts: whoever draws them, they are those of one stream; what is complete is kept, and nothing else."""

import os
import tarfile

import numpy as np
import pytest

from ganzoo import UserError
from ganzoo.fields import Image, Label, Latent, Signature
from ganzoo.inference.parts import save_parts

SIGNATURE = Signature((Latent((3,)), Label(3)), Image(1, 2, 2))


class Sampler:
    """Images that show their latent and their label."""

    device = "cpu"

    def __init__(self, limit=None):
        self.metadata = {"signature": SIGNATURE.to_json(), "model": {"key": "toy"}}
        self.drawn, self.limit = 0, limit

    def __call__(self, z, y):
        if self.limit is not None and self.drawn + len(z) > self.limit:
            raise OSError(28, "No space left on device")  # as a sink would
        self.drawn += len(z)
        return np.stack([z[:, 0], z[:, 1], z[:, 2], y / 3], 1).reshape(-1, 1, 2, 2).astype(np.float32) / 4


def together(path, world, n=23, part=5, **asked):
    return [save_parts(Sampler(), path, n, part=part, rank=rank, world=world, **asked) for rank in range(world)]


def files(folder):
    return {name: (folder / name).read_bytes() for name in sorted(os.listdir(folder)) if "parts" not in name}


@pytest.mark.parametrize("world", [1, 2, 3])
def test_the_number_of_processes_changes_no_byte(tmp_path, world):
    """Nor do parts: joined, they are what is drawn for this seed at once."""
    found = together(tmp_path / "x.npy", world)
    assert sum(each.drawn for each in found) == 23
    assert {each.pattern.name for each in found} == {"x-{000000..000004}.npy"}
    whole = np.concatenate([np.load(tmp_path / f"x-{index:06d}.npy") for index in range(5)])
    together(tmp_path / "one.npy", 1, part=23)
    assert np.array_equal(whole, np.load(tmp_path / "one-000000.npy"))
    assert np.allclose(whole[:, 0, 1, 1] * 12, np.arange(23) % 3)  # classes take turns over all parts


def test_samples_keep_their_numbers(tmp_path):
    together(tmp_path / "x.tar", 2)
    with tarfile.open(tmp_path / "x-000001.tar") as tar:
        assert [name for name in tar.getnames() if name.endswith(".png")] == [f"{n:09d}.png" for n in range(5, 10)]
    together(tmp_path / "images", 1)
    assert sorted(os.listdir(tmp_path / "images" / "000004")) == ["000020.png", "000021.png", "000022.png"]


def test_what_is_complete_is_kept(tmp_path):
    """A part that is cut short, gone or changed is drawn again, by other processes too."""
    path = tmp_path / "x.npy"
    together(path, 2)
    before = files(tmp_path)
    assert [each[:2] for each in together(path, 3)] == [(0, 10), (0, 8), (0, 5)]
    (tmp_path / "x-000001.npy").unlink()
    with (tmp_path / "x-000003.npy").open("r+b") as file:
        file.truncate(90)
    with (tmp_path / "x.parts-0.jsonl").open("a") as file:
        file.write('{"name": "x-0000')  # killed while it noted one
    assert sum(each.drawn for each in together(path, 1)) == 10
    assert files(tmp_path) == before


def test_a_full_disk_says_what_is_kept(tmp_path):
    with pytest.raises(UserError, match=r"No space left on device; complete parts are kept \(10 samples of"):
        save_parts(Sampler(limit=12), tmp_path / "x.npy", 23, part=5)
    assert len(files(tmp_path)) == 2
    assert save_parts(Sampler(), tmp_path / "x.npy", 23, part=5)[:2] == (13, 10)


def test_another_request_is_refused(tmp_path):
    together(tmp_path / "x.npy", 1)
    for change, what in (
        ({"n": 24}, "another n"),
        ({"part": 4}, "another part"),
        ({"seed": 1}, "another seed"),
        ({"label": 2}, "the model or what is asked of it"),
    ):
        with pytest.raises(UserError, match=f"is of a call with {what}"):
            together(tmp_path / "x.npy", 1, **change)
    with pytest.raises(UserError, match="in parts to a folder of images, or to"):
        together(tmp_path / "x.png", 1)
