"""Data sets of two domains: folders with and without pairs, and the styles made in code."""

import numpy as np
import PIL.Image
import pytest
import torch

from ganzoo import UserError
from ganzoo_plugins.datasets.domains import Paired, Unpaired
from ganzoo_plugins.datasets.shapes import Shapes
from ganzoo_plugins.datasets.styles import MnistStyles, ShapesStyles


def rng(seed=0):
    return torch.Generator().manual_seed(seed)


def picture(path, color, size=(12, 8), mode="RGB"):
    """A picture of the size (width, height) whose pixels tell their place and the color."""
    path.parent.mkdir(parents=True, exist_ok=True)
    width, height = size
    pixels = np.zeros((height, width, 3), np.uint8)
    pixels[..., 0] = color
    pixels[..., 1] = np.arange(height)[:, None]
    pixels[..., 2] = np.arange(width)
    PIL.Image.fromarray(pixels).convert(mode).save(path)


@pytest.fixture
def folders(tmp_path):
    for index in range(5):
        picture(tmp_path / "a" / f"{index}.png", 10 + index)
    for index in range(3):
        picture(tmp_path / "b" / f"{index}.png", 200 + index)
    return tmp_path


def unpaired(folders, **settings):
    return Unpaired(Unpaired.Config(a=folders / "a", b=folders / "b", **settings))


def paired(**settings):
    return Paired(Paired.Config(**settings))


# --- two folders without pairs --------------------------------------------------------------------------------------


def test_unpaired_is_as_long_as_the_larger_folder_and_draws_the_other_at_random(folders):
    data = unpaired(folders)
    assert len(data) == 5
    assert [field.name for field in data.spec.fields] == ["a", "b"]
    assert not data.spec.paired
    assert not data.known_pairs
    batch = data.batch(torch.arange(5), rng())
    assert batch["a"][:, 0, 0, 0].tolist() == [10, 11, 12, 13, 14]
    assert batch["a"].shape == batch["b"].shape == (5, 3, 8, 12)
    seen = [tuple(data.batch(torch.arange(5), rng(seed))["b"][:, 0, 0, 0].tolist()) for seed in range(20)]
    assert len(set(seen)) > 10
    assert {value for row in seen for value in row} == {200, 201, 202}


def test_crops_and_mirrors_of_unpaired_domains_are_independent(folders):
    data = unpaired(folders, size=(6, 8), margin=2, resize="stretch", flip=True)
    assert [field.shape for field in data.spec.fields] == [(3, 6, 8), (3, 6, 8)]
    places = {"a": set(), "b": set()}
    for seed in range(40):
        batch = data.batch(torch.arange(5), rng(seed))
        for name, images in batch.items():
            places[name] |= {tuple(image[2, 0].tolist()) for image in images}
    assert all(len(found) > 3 for found in places.values())
    again = [data.batch(torch.arange(5), rng(3)) for _ in range(2)]
    assert all(torch.equal(again[0][name], again[1][name]) for name in "ab")


def test_held_out_pairs_are_found_by_name_whatever_the_suffix(folders):
    for index, name in enumerate(("x", "y", "z")):
        picture(folders / "ta" / f"{name}.png", 50 + index)
        picture(folders / "tb" / f"{name}.bmp", 100 + index)
    picture(folders / "ta" / "alone.png", 7)
    data = unpaired(folders, test_a=folders / "ta", test_b=folders / "tb")
    assert data.known_pairs
    examples = data.examples(10)
    assert (examples["b"][:, 0, 0, 0].int() - examples["a"][:, 0, 0, 0].int()).tolist() == [50, 50, 50]
    assert len(data.examples(2)["a"]) == 2


def test_one_folder_of_held_out_pairs_is_not_enough(folders):
    with pytest.raises(UserError, match=r"data\.test_a and data\.test_b"):
        unpaired(folders, test_a=folders / "a")


def test_a_margin_that_leaves_nothing_is_refused(folders):
    with pytest.raises(UserError, match="margin of 8"):
        unpaired(folders, margin=8)


# --- pairs ------------------------------------------------------------------------------------------------------------


def test_pairs_of_equal_names_and_what_has_no_partner(folders, caplog):
    data = paired(a=folders / "a", b=folders / "b")
    assert len(data) == 3
    assert data.spec.paired
    assert data.known_pairs
    assert "2 images" in caplog.text
    batch = data.batch(torch.tensor([2, 0]), rng())
    assert batch["a"][:, 0, 0, 0].tolist() == [12, 10]
    assert batch["b"][:, 0, 0, 0].tolist() == [202, 200]
    swapped = paired(a=folders / "a", b=folders / "b", swap=True).batch(torch.tensor([2]), rng())
    assert swapped["a"][0, 0, 0, 0] == 202


def test_accents_of_names_of_pairs_may_be_characters_of_their_own(tmp_path, caplog):
    for side, names, color in (("a", ("d\u00e9", "f"), 10), ("b", ("f", "de\u0301"), 200)):
        for index, name in enumerate(names):
            picture(tmp_path / side / f"{name}.png", color + index)
    batch = paired(a=tmp_path / "a", b=tmp_path / "b").batch(torch.arange(2), rng())
    assert dict(zip(*(batch[side][:, 0, 0, 0].tolist() for side in "ab"), strict=True)) == {10: 201, 11: 200}
    assert not caplog.records


def test_both_images_of_a_pair_are_cropped_and_mirrored_alike(folders):
    data = paired(a=folders / "a", b=folders / "b", size=(6, 8), margin=2, resize="stretch", flip=True)
    places = set()
    for seed in range(30):
        batch = data.batch(torch.arange(3), rng(seed))
        assert torch.equal(batch["a"][:, 1:], batch["b"][:, 1:])  # green and blue tell the place
        places |= {(int(image[1, 0, 0]), int(image[2, 0, 0])) for image in batch["a"]}
    assert len(places) > 6


def test_two_images_side_by_side_in_each_file(tmp_path):
    for index in range(3):
        left, right = np.full((6, 5, 3), index, np.uint8), np.full((6, 5, 3), 100 + index, np.uint8)
        (tmp_path / "both").mkdir(exist_ok=True)
        PIL.Image.fromarray(np.concatenate([left, right], axis=1)).save(tmp_path / "both" / f"{index}.png")
    data = paired(path=tmp_path / "both")
    assert [field.shape for field in data.spec.fields] == [(3, 6, 5)] * 2
    batch = data.batch(torch.arange(3), rng())
    assert batch["a"].unique().tolist() == [0, 1, 2]
    assert batch["b"].unique().tolist() == [100, 101, 102]
    resized = paired(path=tmp_path / "both", size=4)
    assert resized.spec.fields[0].shape == (3, 4, 4)
    assert resized.batch(torch.arange(3), rng())["b"].unique().tolist() == [100, 101, 102]


@pytest.mark.parametrize("settings", [{}, {"a": "a"}, {"a": "a", "b": "b", "path": "c"}])
def test_pairs_come_from_two_folders_or_from_one(settings):
    with pytest.raises(UserError, match=r"data\.a and data\.b, or data\.path"):
        paired(**settings)


def test_folders_without_a_name_in_common_have_no_pairs(folders):
    picture(folders / "c" / "other.png", 0)
    with pytest.raises(UserError, match="no pairs"):
        paired(a=folders / "a", b=folders / "c")


def test_a_file_of_odd_width_has_no_two_halves(tmp_path):
    picture(tmp_path / "both" / "x.png", 0, size=(7, 4))
    with pytest.raises(UserError, match=r"no image in .* 7 wide"):
        paired(path=tmp_path / "both")


# --- styles made in code ----------------------------------------------------------------------------------------------


def test_shapes_styles_draws_the_same_scenes_filled_and_outlined():
    data = ShapesStyles(ShapesStyles.Config(size=60, paired=True))
    batch = data.batch(torch.arange(60), rng())
    judge = Shapes(Shapes.Config(size=1)).measure
    filled = judge(batch["a"])
    assert torch.equal(filled["shape"], Shapes(Shapes.Config(size=60)).factors["shape"])
    lit = [(batch[name].float().amax(1) > 120).flatten(1).sum(1) for name in "ab"]
    assert (lit[1] <= lit[0]).all()
    assert lit[1].sum() < 0.7 * lit[0].sum()
    inside = (batch["b"].float() - batch["a"].float()).amax((1, 2, 3))
    assert (inside <= 40).all()  # an outline adds nothing outside of the shape


def test_shapes_styles_shares_no_scene_between_domains_unless_it_is_paired():
    data = ShapesStyles(ShapesStyles.Config(size=40))
    partner = ShapesStyles(ShapesStyles.Config(size=40, paired=True))
    assert torch.equal(data.batch(torch.arange(40), rng())["a"], partner.batch(torch.arange(40), rng())["a"])
    assert not torch.equal(data.batch(torch.arange(40), rng())["b"], partner.batch(torch.arange(40), rng())["b"])
    assert not data.spec.paired
    assert partner.spec.paired
    assert data.known_pairs
    assert len(data.examples(1000)["a"]) == 500


@pytest.mark.parametrize(("style", "channels"), [("inverted", 1), ("thick", 1), ("colored", 3)])
def test_mnist_styles(style, channels):
    data = MnistStyles(MnistStyles.Config(style=style))
    assert len(data) == 2250
    assert data.spec["b"].channels == channels
    examples = data.examples(20)
    a, b = examples["a"].float(), examples["b"].float()
    match style:
        case "inverted":
            assert torch.equal(a + b, torch.full_like(a, 255))
        case "thick":
            assert (b >= a).all()
            assert (b > a).any(dim=(1, 2, 3)).all()
        case "colored":
            ink, paper = b[(a == 255).expand_as(b)].view(-1), b.permute(0, 2, 3, 1)[(a == 0)[:, 0]]
            assert set(ink.tolist()) <= {255.0, 150.0, 30.0}
            assert paper.unique(dim=0).tolist() == [[20.0, 40.0, 110.0]]
    digits = {image.numpy().tobytes() for image in data.batch(torch.arange(2250), rng())["a"]}
    assert not digits & {image.numpy().tobytes() for image in examples["a"]}


def test_changing_examples_leaves_the_data_as_it_was():
    data = MnistStyles(MnistStyles.Config())
    data.examples(3)["a"].zero_()
    assert data.examples(3)["a"].any()
