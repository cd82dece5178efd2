"""Styles of a style-based generator: truncated, mixed, moved and found, from a network and from its file alone."""

import json
from pathlib import Path
from typing import NamedTuple

import numpy as np
import pytest
import torch
from conftest import Command
from PIL import Image as Pillow
from torch.nn.functional import leaky_relu

import ganzoo
import ganzoo_runtime as runtime
from ganzoo import Image, Label, Latent, Signature, Styles, Truncation, UserError
from ganzoo.fields.drawing import grid as lay_out
from ganzoo.images.titles import columns_named
from ganzoo.inference.projection import ImageDistance, descend_styles
from ganzoo.inference.sampling import TorchSampler
from ganzoo_exporters.export import export
from ganzoo_plugins.latent.directions import find_in_style_layers
from ganzoo_plugins.networks.stylegan2 import StyleGAN2Config, StyleGAN2Discriminator, StyleGAN2Generator
from ganzoo_runtime.metadata import check_document

CONFIG = StyleGAN2Config(latent_dim=6, style_dim=5, channel_base=64, channel_max=8)
IMAGE = Image(1, 16, 16, (-1, 1), name="x")
L, D = 6, 5
DIRECTIONS = {
    "all": {"latent": "w", "vector": [1.0, 0.0, 0.5, 0.0, -1.0], "range": [-2.0, 2.0]},
    "some": {"latent": "w", "vector": [0.0, 1.0, 0.0, 1.0, 0.0], "range": [-2.0, 2.0], "layers": [1, 3]},
}


class Models(NamedTuple):
    """A network, and what draws from it and from its file."""

    network: StyleGAN2Generator
    torch: TorchSampler
    file: runtime.Generator
    path: Path


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Models:
    torch.manual_seed(0)
    network = StyleGAN2Generator(CONFIG, IMAGE, (Label(3),)).eval().requires_grad_(False)
    network.mapping.mean.normal_()
    for parameter in network.synthesis.parameters():
        parameter.add_(0.1 * torch.randn(parameter.shape))  # noise, and biases
    metadata = {"latent_mean": {"w": network.mapping.mean.tolist()}, "directions": DIRECTIONS}
    path = tmp_path_factory.mktemp("styles") / "generator.onnx"
    document = export(network, path, metadata)
    assert document["parity"]["max_difference"] <= 1e-5
    file = runtime.Generator(path, providers=["CPUExecutionProvider"])
    return Models(network, TorchSampler(network, document), file, path)


def test_the_two_inputs_are_never_required(models: Models) -> None:
    network = models.network
    z, y, w = torch.randn(4, 6), torch.tensor([0, 1, 2, 0]), torch.randn(4, L, D)
    mixed = torch.cat([w[:, :2], network.mapping(z, y)[:, None].expand(-1, 4, -1)], 1)
    # Not to the bit: which kernels compute, and so how they round, depends on how the styles lie in memory.
    for found, expected in (
        (network(z, y, torch.ones(4, L), w), network(z, y)),
        (network(z, y, torch.zeros(4, L), w), network.drawn(w)),
        (network(z, y, (torch.arange(L) >= 2).float().expand(4, -1), w), network.drawn(mixed)),
    ):
        torch.testing.assert_close(found, expected, rtol=0, atol=1e-6)


def test_samples_are_those_of_their_styles(models: Models) -> None:
    for sampler in (models.torch, models.file):
        styles = sampler.styles(5, 3, truncation=0.7)
        assert styles.shape == (5, L, D)
        drawn = sampler.sample(5, seed=3, truncation=0.7)
        np.testing.assert_allclose(sampler.sample(5, latents={"w": styles}), drawn, atol=1e-5)
        np.testing.assert_allclose(sampler.styles([4, 1], 3, truncation=0.7), styles[[4, 1]], atol=1e-6)
        assert np.abs(sampler.styles(5, 3, label=2)[:2] - sampler.styles(5, 3)[:2]).max() > 0.01
        assert np.abs(sampler.sample(5, seed=3, label=2)[:2] - sampler.sample(5, seed=3)[:2]).max() > 0.01
    z, y = models.file.latents(4), np.arange(4) % 3
    for sampler in (models.torch, models.file):
        np.testing.assert_allclose(sampler(z, y), models.torch.sample(4), atol=1e-5)
    np.testing.assert_allclose(models.file.sample(70, seed=1), models.torch.sample(70, seed=1), atol=1e-5)


def test_truncation_moves_styles_to_their_mean_and_leaves_latents(models: Models) -> None:
    mean = np.float64(models.network.mapping.mean)
    for sampler in (models.torch, models.file):
        plain = sampler.styles(7, 3).astype(np.float64)
        np.testing.assert_allclose(sampler.styles(7, 3, truncation=0.5), mean + 0.5 * (plain - mean), atol=1e-6)
        cut = sampler.styles(7, 3, truncation=[0.5, 0.25])
        np.testing.assert_allclose(cut[:, 2:], plain[:, 2:], atol=1e-6)
        np.testing.assert_allclose(cut[:, 1], (mean + 0.25 * (plain - mean))[:, 1], atol=1e-6)
        np.testing.assert_array_equal(sampler.latents(7, 3, truncation=0.5), sampler.latents(7, 3))


@pytest.mark.parametrize(
    ("asked", "sentence"),
    [
        ({"truncation": [0.5] * 7}, "this model has 6 styles; 7 of them cannot be truncated"),
        ({"truncation": [0.5, "much"]}, "the truncation is a finite number of at least 0, not 'much'"),
        ({"latents": {"w": np.zeros((3, D))}}, r"the latents of 2 samples .* have the shape \[6, 5\] or \[2, 6, 5\]"),
    ],
)
def test_what_is_wrong_with_styles_is_told(models: Models, asked: dict[str, object], sentence: str) -> None:
    for sampler in (models.torch, models.file):
        with pytest.raises(ValueError, match=sentence):
            sampler.sample(2, **asked)


def test_a_model_without_styles_says_so(cli: Command) -> None:
    model = "zoo:dcgan-mnist5k"
    cli("mix", model).refused("it is not style-based")
    cli("sample", model, "--truncation-cutoff", "2").refused("and this model has none")


def test_a_cutoff_without_a_truncation_and_layers_of_nothing(models: Models, cli: Command) -> None:
    cli("sample", models.path, "--truncation-cutoff", 2).refused(
        "--truncation-cutoff says which styles --truncation moves"
    )
    for command in (("mix",), ("directions", "find")):
        cli(*command, models.path, "--layers", "").refused("--layers is FIRST-LAST of the layers 0 to 5")


def test_what_is_too_large_for_float32_inside_the_network_is_refused(models: Models, cli: Command) -> None:
    for words in (("mix",), ("sample", "-n", 2), ("interpolate",), ("edit", "--direction", "w.0=1")):
        refused = cli(words[0], models.path, *words[1:], "--truncation", "3e38", "--out", "far.png").refused()
        assert refused.startswith("ganzoo: the model draws numbers that are not finite")
    assert not Path("far.png").exists()


def test_what_cannot_be_written_is_told_before_anything_is_computed(models: Models, cli: Command) -> None:
    Pillow.new("L", (16, 16)).save("image.png")
    Path("notes.json").write_text("my notes")
    Path("folder.npz").mkdir()
    Path("latents.npz").write_bytes(b"older")
    asked = ("encode", models.path, "image.png", "--optimize", "--label", 0)
    for out, words in (("folder.npz", "it is a folder"), ("image.png/x.npz", "image.png: it is not a folder")):
        outcome = cli(*asked, "--out", out)
        outcome.refused(words)
        assert "looking for" not in outcome.err
    assert "looking for" not in cli(*asked, "--grid", "image.png/x.png").err
    assert Path("latents.npz").read_bytes() == b"older"
    for command in (("find",), ("fit", "--attribute-of", "nothing:here")):
        cli("directions", *command, models.path, "--out", "notes.json").refused(
            "notes.json is not JSON", "it is kept, so choose another --out"
        )
        cli("directions", *command, models.path, "--out", "image.png/x.json").refused("it is not a folder")
    assert Path("notes.json").read_text() == "my notes"


def test_a_grid_of_mixed_styles(models: Models, cli: Command) -> None:
    found = []
    for sampler in (models.torch, models.file):
        rows, columns = sampler.styles([0, 2], 9, truncation=0.8), sampler.styles([5, 1, 3], 9, truncation=0.8)
        mixed = [np.concatenate([row[:2], column[2:]]) for row in rows for column in columns]
        found.append(sampler.sample(11, latents={"w": np.stack([*rows, *columns, *mixed])}))
    np.testing.assert_allclose(found[1], found[0], atol=1e-5)
    asked = ("--rows", "0,2", "--columns", "5,1,3", "--layers", "0-1", "--seed", "9", "--truncation", "0.8")
    assert cli("mix", models.path, *asked, "--out", "m.png").code == 0
    tiles = runtime.pixels(found[1], (-1, 1))
    blank = np.full_like(tiles[:1], 255)
    order = [blank, tiles[2:5], tiles[:1], tiles[5:8], tiles[1:2], tiles[8:]]
    with Pillow.open("m.png") as picture:
        expected = columns_named(lay_out(np.concatenate(order), 4), ["", "5", "1", "3"])
        np.testing.assert_array_equal(np.asarray(picture).reshape(expected.shape), expected)


def test_directions_move_the_layers_that_they_name(models: Models, cli: Command) -> None:
    styles = models.file.styles(3, 4)
    moved = runtime.edit(styles, models.file.directions, {"all": 0.5, "some": 2.0}) - styles
    for layer in range(L):
        wanted = 0.5 * np.array(DIRECTIONS["all"]["vector"])
        if 1 <= layer <= 3:
            wanted = wanted + 2 * np.array(DIRECTIONS["some"]["vector"])
        np.testing.assert_allclose(moved[:, layer], np.tile(wanted, (3, 1)), atol=1e-6)
    with pytest.raises(ValueError, match="is of layers: it moves styles"):
        runtime.edit(styles[0, 0], models.file.directions, {"some": 1.0})
    asked = ("-n", 3, "--seed", 4, "--direction", "some=2", "--layers", "5", "--out", "e.npz")
    assert cli("edit", models.path, *asked).code == 0
    with np.load("e.npz") as edited:
        np.testing.assert_allclose(edited["latents"][:, :5], styles[:, :5], atol=1e-6)
        np.testing.assert_allclose(edited["latents"][:, 5] - styles[:, 5], [[0, 2, 0, 2, 0]] * 3, atol=1e-6)
        expected = runtime.pixels(models.file.sample(3, latents={"w": edited["latents"]}), (-1, 1))
        np.testing.assert_array_equal(edited["pixels"], expected)
    cli("edit", models.path, "--direction", "some=2", "--layers", "4-6").refused(
        "--layers is FIRST-LAST of the layers 0"
    )
    cli("edit", models.path, "--direction", "z.1=2", "--on", "z", "--layers", "4-6").refused("'z' is a latent")


@pytest.mark.parametrize("layers", [[2, 1], [0, L], [-1, 2], [0], "01", [0.0, 1.0], [True, True]])
def test_layers_that_there_are_not_are_refused(models: Models, cli: Command, layers: object) -> None:
    entry = {**DIRECTIONS["some"], "layers": layers}
    document = {**models.file.metadata, "directions": {"some": entry}}
    with pytest.raises(runtime.ModelError, match="the layers of the direction 'some' are no range of the 6"):
        check_document(document)
    Path("d.json").write_text(json.dumps({"some": entry}))
    done = cli("edit", models.path, "--directions", "d.json", "--direction", "some=1")
    done.refused("are no range of the 6 that there are")


def test_directions_of_w_are_its_principal_components(models: Models, cli: Command) -> None:
    assert cli("directions", "find", models.path, "-k", 2, "-n", 300, "--seed", 7, "--layers", "0-2").code == 0
    found = json.loads(Path("directions.json").read_text())
    w = models.torch.styles(300, 7)[:, 0].astype(np.float64)
    for start in range(3):  # the classes in turn, each around its own mean
        w[start::3] -= w[start::3].mean(axis=0)
    _, vectors = np.linalg.eigh(w.T @ w)
    for name, vector in zip(("pca1", "pca2"), vectors.T[::-1], strict=False):
        assert abs(np.dot(found[name]["vector"], vector)) == pytest.approx(1, abs=1e-4)
        assert (found[name]["latent"], found[name]["layers"]) == ("w", [0, 2])
    with Pillow.open(_drawn(cli, models.path)) as picture:
        assert picture.size[0] > 0


def _drawn(cli: Command, path: Path) -> str:
    asked = ("pca1", "--directions", "directions.json", "-n", 2, "--columns", 3, "--out", "g.png")
    assert cli("directions", "grid", path, *asked).code == 0
    return "g.png"


def test_directions_of_w_by_the_weights_of_layers(models: Models) -> None:
    network, inputs = models.network, [torch.zeros(1, 6), torch.tensor([0]), torch.ones(1, L), torch.zeros(1, L, D)]
    found = find_in_style_layers(network, inputs, 3, (1, 2), 2)
    first, second = network.synthesis.blocks[:2]
    # Style 1 colors the first block and starts the second one, style 2 is its other layer's.
    affine = [first.to_image.affine, second.layers[0].affine, second.layers[1].affine]
    weights = np.concatenate([np.float64(each.weight * each.scale) for each in affine])
    _, vectors = np.linalg.eigh(weights.T @ weights)
    for ours, theirs in zip(found, vectors.T[::-1], strict=False):
        assert abs(ours @ theirs) == pytest.approx(1, abs=1e-6)


def test_the_styles_of_a_drawn_image_are_found(models: Models) -> None:
    network, styles = models.network, torch.from_numpy(models.torch.styles(300, 5, label=1))
    mean, spread = styles[:, :1].mean(0, keepdim=True), float(styles[:, 0].var(0).sum().sqrt())
    distance = ImageDistance(network.drawn(styles[:4]))
    assert distance.name == "pixels"
    for layers in (1, L):  # W and W+
        start = mean.expand(4, layers, -1)
        found, _ = descend_styles(network.drawn, distance, start, L, spread, steps=150)
        assert (distance(network.drawn(found)) < 0.01 * distance(network.drawn(start.expand(-1, L, -1)))).all()
        assert (found[:, 1:] == found[:, :1]).all() == (layers == 1)


def test_a_file_draws_with_no_other_noise(models: Models, cli: Command) -> None:
    noise = sum(each.numel() for each in models.network.noises.values())
    np.savez("found.npz", w=models.torch.styles(2), noise=np.zeros((2, noise)))
    asked = ("--latent", "found.npz", "--direction", "w.1=1")
    cli("edit", models.path, *asked).refused("takes no noise maps; a run of stylegan2 does, and no exported file")
    Pillow.fromarray(np.zeros((16, 16), np.uint8)).save("image.png")
    cli("encode", models.path, "image.png", "--optimize", "--noise", "--label", 0).refused(
        "noise maps are found by gradients, so give a run folder"
    )
    cli("encode", models.path, "image.png", "--optimize", "--space", "w+", "--label", 0).refused(
        "a style for each layer is found by gradients, so give a run folder"
    )


def test_images_are_compared_as_their_discriminator_sees_them() -> None:
    torch.manual_seed(1)
    discriminator = StyleGAN2Discriminator(CONFIG, IMAGE).double()
    wanted, drawn = torch.rand(2, 3, 1, 16, 16, dtype=torch.double)
    distance = ImageDistance(wanted, discriminator)
    assert distance.name == "pixels and the discriminator's features"
    assert distance(wanted).max() == 0
    expected = ((drawn - wanted) ** 2).mean((1, 2, 3))
    pairs = []
    ours, theirs = drawn, wanted
    for layer in (discriminator.from_image, *discriminator.blocks):
        if layer is discriminator.from_image:
            pairs.append((layer(ours), layer(theirs)))
            ours, theirs = (leaky_relu(each, 0.2) * 2**0.5 for each in pairs[-1])
            continue
        first = layer.first(ours), layer.first(theirs)
        second = tuple(layer.second(leaky_relu(each, 0.2) * 2**0.5) for each in first)
        pairs += [first, second, (layer.skip(ours), layer.skip(theirs))]
        ours, theirs = layer(ours), layer(theirs)
    for one, other in pairs:  # what lies behind the minibatch deviation is not compared
        length = [each.norm(dim=1, keepdim=True) for each in (one, other)]
        expected = expected + ((one / length[0] - other / length[1]) ** 2).sum(1).mean((1, 2)) / len(pairs)
    torch.testing.assert_close(distance(drawn), expected, atol=1e-6, rtol=1e-6)


@pytest.mark.slow
def test_real_image_to_edit_to_image(cli: Command, tmp_path: Path) -> None:
    small = ("batch_size=8", "model.latent_dim=4", "model.style_dim=4", "model.channel_base=64", "model.channel_max=8")
    sets = [word for each in small for word in ("--set", each)]
    assert cli("train", "--plugin", "stylegan2", "--data", "mnist5k", "--steps", 1, "--device", "cpu", *sets).code == 0
    assert cli("sample", "last", "-n", 2, "--seed", 3, "--out", "images").code == 0
    for space, steps in (("w", 4), ("w+", 2), ("z", 2)):
        asked = ("--optimize", "--space", space, "--steps", steps, "--out", f"{space}.npz", "--grid", "g.png")
        assert cli("encode", "last", "images", *asked).code == 0
    with np.load("w.npz") as found:
        assert found["w"].shape == (2, L, 4)
    assert cli("edit", "last", "--latent", "w.npz", "--direction", "w.1=1", "--out", "e.npz").code == 0
    assert cli("export", "last", "--onnx", "--all", "--out", "all").code == 0
    assert {path.name for path in Path("all").iterdir()} == {"generator.onnx", "mapping.onnx", "synthesis.onnx"}
    w = ganzoo.load("all/mapping.onnx").sample(3, seed=2)
    parts = ganzoo.load("all/synthesis.onnx").sample(3, latents={"w": np.repeat(w[:, None], L, 1)})
    np.testing.assert_allclose(parts, ganzoo.load("all/generator.onnx").sample(3, seed=2), atol=1e-5)
    cli("encode", "zoo:gan_fc-mnist5k", "images", "--optimize", "--space", "w").refused("is not style-based")
    cli("encode", "last", "images", "--space", "w").refused("the space is where --optimize looks")


def test_attributes_and_classes_are_in_styles_already(models: Models, cli: Command) -> None:
    cli("grid", models.path, "--on", "w").refused("are in the styles 'w' already; give --on with a latent")
    assert cli("grid", models.path, "-n", 2, "--truncation", "0.5", "--out", "g.png").code == 0
    z = np.repeat(models.file.latents(2), 3, axis=0)
    expected = runtime.pixels(models.file.sample(6, latents={"z": z}, truncation=0.5), (-1, 1))
    with Pillow.open("g.png") as picture:
        laid = lay_out(expected, 3)
        np.testing.assert_array_equal(np.asarray(picture).reshape(laid.shape), laid)


def test_fields_of_styles_say_what_they_are() -> None:
    signature = Signature((Latent((3,)), Label(2), Truncation(4), Styles(4, 2)), IMAGE)
    assert [field.name for field in signature.conditions] == ["y"]
    assert signature.drawn
    assert Signature.from_json(signature.to_json()) == signature
    with pytest.raises(UserError, match="'w' is not made of whole numbers"):
        Styles(0, 2)
    document = {"schema": 1, "signature": {"inputs": [{**Styles(4, 2).to_json(), "shape": [4]}]}}
    with pytest.raises(runtime.ModelError, match="'w' has no styles, a vector for each layer"):
        check_document(document)
