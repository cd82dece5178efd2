"""Three digits in one image: which, and the same ones every time."""

import pytest
import torch
from pydantic import ValidationError

from ganzoo import Image, Label, UserError
from ganzoo_plugins.datasets.mnist5k import Mnist5k
from ganzoo_plugins.datasets.stacked_mnist import StackedMnist


@pytest.fixture(scope="module")
def dataset() -> StackedMnist:
    return StackedMnist(StackedMnist.Config())


def fetch(dataset: StackedMnist, indices: torch.Tensor) -> dict[str, torch.Tensor]:
    return dataset.batch(indices, torch.Generator())


def test_it_is_what_the_papers_take(dataset):
    assert len(dataset) == 128_000
    assert dataset.spec.name == "stacked_mnist"
    assert dataset.spec.fields == (Image(3, 28, 28, range=(0, 255)), Label(1000))
    assert dataset.in_memory
    assert dataset.metrics == ()


def test_each_channel_is_a_digit_and_the_label_is_their_number(dataset):
    batch = fetch(dataset, torch.arange(300))
    images, labels = dataset.digits
    single = Mnist5k(Mnist5k.Config())
    assert torch.equal(images, single.tensors["x"])
    assert torch.equal(labels, single.tensors["y"])
    # A digit is found by its pixels, whatever its number in the source.
    known = {image.numpy().tobytes(): int(label) for image, label in zip(images, labels, strict=True)}
    assert batch["x"].shape == (300, 3, 28, 28)
    for image, label in zip(batch["x"], batch["y"].tolist(), strict=True):
        a, b, c = (known[channel.numpy().tobytes()] for channel in image)
        assert label == 100 * a + 10 * b + c


def test_all_modes_are_there_alike(dataset):
    labels = torch.cat([fetch(dataset, part)["y"] for part in torch.arange(128_000).split(8000)])
    counts = torch.bincount(labels, minlength=1000)
    assert len(counts) == 1000
    assert 80 < counts.min() <= counts.max() < 180  # 128 each, give or take 11


def test_a_sample_depends_on_its_index_and_the_seed_alone(dataset):
    few = StackedMnist(StackedMnist.Config(size=50))
    other = StackedMnist(StackedMnist.Config(size=50, sample_seed=1))
    wanted = torch.tensor([49, 0, 49, 7])
    for name, values in fetch(few, wanted).items():
        assert torch.equal(values, fetch(dataset, wanted)[name])
        assert not torch.equal(values, fetch(other, wanted)[name])


def test_the_source_mnist_is_looked_for_in_the_root(tmp_path, monkeypatch):
    import ganzoo_plugins.datasets.stacked_mnist as module

    asked = []

    def mnist(config):
        asked.append(config)
        return Mnist5k(Mnist5k.Config())

    monkeypatch.setattr(module, "Mnist", mnist)
    StackedMnist(StackedMnist.Config(source="mnist", root=tmp_path, size=5))
    assert [(config.root, config.split) for config in asked] == [(tmp_path, "train")]
    monkeypatch.setenv("GANZOO_DATA", str(tmp_path / "own"))
    assert StackedMnist.Config().root == tmp_path / "own"


def test_mnist_that_cannot_be_had_is_one_sentence(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(UserError, match=r"mnist is not in .*data\.root=FOLDER"):
        StackedMnist(StackedMnist.Config(source="mnist", root=tmp_path / "file"))


@pytest.mark.parametrize("settings", [{"size": 0}, {"source": "cifar10"}, {"sample_seed": -1}])
def test_impossible_settings_are_refused(settings):
    with pytest.raises(ValidationError):
        StackedMnist.Config(**settings)
