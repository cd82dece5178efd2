"""Trainings that start from the weights of others, and discriminators that learn in part."""

import copy
import json
import os
import shutil
import tomllib
from pathlib import Path
from typing import Any

import onnx
import pytest
import torch
from safetensors.torch import load_file, save_file

import ganzoo
from ganzoo import UserError
from ganzoo.config.resolving import overlay
from ganzoo.gan.networks import layers
from ganzoo.runs import checkpoint
from ganzoo.training.capture import Tapes
from ganzoo.training.sources import open_source
from ganzoo.training.train import prepare

IMAGES = torch.rand(32, 1, 16, 16, generator=torch.Generator().manual_seed(0))
OTHERS = IMAGES.flip(3)
SMALL: dict[str, Any] = {"batch_size": 4, "sample_every": 10, "checkpoint_every": 2, "device": "cpu"}
TUNED = {"freeze_discriminator": 2, "model": {"optimizer": {"name": "adamw", "weight_decay": 0.1}}}
MODEL: dict[str, Any] = {"widths": [8], "group": 8, "latent_dim": 4}


def train(out: Path, model: str = "r3gan", data: Any = OTHERS, settings: Any = MODEL, **options: Any) -> ganzoo.Run:
    config = overlay({**SMALL, "model": settings}, options.pop("config", {}))
    return ganzoo.train(model, data=data, config=config, out=out, quiet=True, **options)


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> ganzoo.Run:
    return train(tmp_path_factory.mktemp("source"), data=IMAGES, steps=3)


@pytest.fixture(scope="module")
def tuned(source: ganzoo.Run, tmp_path_factory: pytest.TempPathFactory) -> ganzoo.Run:
    """A training of two steps from the source, on other data, with frozen layers."""
    return train(tmp_path_factory.mktemp("tuned"), from_=source, steps=2, config=TUNED)


def weights(run: ganzoo.Run, which: str = "networks") -> dict[str, torch.Tensor]:
    return checkpoint.load_tensors(checkpoint.latest(run.checkpoints), which)


def test_it_starts_at_the_pictures_of_the_source(source: ganzoo.Run, tuned: ganzoo.Run) -> None:
    assert (tuned.samples / "000000.png").read_bytes() == (source.samples / "000003.png").read_bytes()
    document = tomllib.loads((tuned.path / "config.toml").read_text())
    digest = checkpoint.digest(checkpoint.latest(source.checkpoints))
    about = {"name": str(source.path.resolve()), "format": "", "sha256": digest, "step": 3, "license": ""}
    assert document["source"] == about
    card = (tuned.path / "README.md").read_text()
    said = f"{source.path.name}, trained for 3 steps (sha256 {digest[:16]}); 2 layers of the discriminator frozen"
    assert f"- Started from: {said}\n" in card


def test_networks_begin_with_the_last_weights_and_averages_with_averaged_ones(source: ganzoo.Run) -> None:
    settings = {**SMALL, "model": MODEL, "ema": 0.75, "steps": 9}
    config, dataset, _ = prepare("r3gan", data=OTHERS, config=settings, from_=source, quiet=True)
    loop = ganzoo.Loop(config.build_trainer(dataset.spec), dataset, config.train)
    assert config.train.source is not None
    open_source(config.train.source, ganzoo.load_registry()).load_into(loop)
    last, before = weights(source), weights(source, "ema")
    for name, network in loop.trainer.networks.items():
        assert all(torch.equal(each, last[f"{name}.{key}"]) for key, each in network.state_dict().items())
    averaged = loop.ema["generator"].state_dict()
    assert all(torch.equal(each, before[f"generator.{key}"]) for key, each in averaged.items())
    loop.advance()
    for key, each in loop.trainer.networks["generator"].state_dict().items():
        assert torch.allclose(averaged[key], 0.75 * before[f"generator.{key}"] + 0.25 * each, atol=1e-6)


def test_frozen_layers_stay_as_they_are(source: ganzoo.Run, tuned: ganzoo.Run) -> None:
    before, after = weights(source), weights(tuned)
    changed = {name for name in before if not torch.equal(before[name], after[name])}
    frozen = {name for name in before if name.startswith(("discriminator.body.0.", "discriminator.body.1."))}
    assert frozen
    assert changed == before.keys() - frozen


def test_it_is_resumed_to_the_bit_without_its_source(source: ganzoo.Run, tuned: ganzoo.Run, tmp_path: Path) -> None:
    folder = Path(shutil.copytree(source.path, tmp_path / "source"))
    half = train(tmp_path, from_=folder, steps=1, config=TUNED)
    shutil.rmtree(folder)
    ganzoo.train(resume=half, steps=2, data=OTHERS, quiet=True)
    for which in ("networks", "ema"):
        one, other = weights(tuned, which), weights(half, which)
        assert all(torch.equal(one[name], other[name]) for name in one)
    with pytest.raises(UserError, match=r"'source\.name' cannot change"):
        ganzoo.train(resume=half, steps=5, data=OTHERS, sets=["source.name=other"], quiet=True)
    with pytest.raises(UserError, match="--from cannot change a run that is resumed"):
        ganzoo.train(resume=half, steps=5, from_=tuned, quiet=True)


def test_its_config_starts_from_the_same_weights(source: ganzoo.Run, tuned: ganzoo.Run) -> None:
    config = tuned.document() | {"steps": 1}
    again = prepare(config=config, data=OTHERS, quiet=True)
    assert again.config.train.source is not None
    assert again.config.train.source.model_dump() == config["source"]
    config["source"] |= {"sha256": "0" * 64}
    with pytest.raises(UserError, match=r"are no longer those that this config was written for; .* give --from"):
        prepare(config=config, data=OTHERS, quiet=True)
    prepare(config=config, data=OTHERS, from_=source, quiet=True)


def test_what_does_not_fit_is_named(source: ganzoo.Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    data = torch.rand(32, 3, 16, 16)
    prepare("r3gan", data=data, config={**SMALL, "model": MODEL}, out=tmp_path, steps=1, from_=source)
    said = [line for line in capsys.readouterr().err.splitlines() if line.startswith("from ")]
    assert said == [
        f"from {source.path.resolve()}: generator: 17 of 19 tensors; of other shapes: body.6.weight, body.6.bias",
        f"from {source.path.resolve()}: discriminator: 18 of 19 tensors; of other shapes: body.0.weight",
    ]
    with pytest.raises(UserError, match=r"no weights of .* fit this model: they are of another one"):
        train(tmp_path, "gan_fc", settings={}, from_=source, steps=1)


def test_files_of_weights(source: ganzoo.Run, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    tensors = load_file(checkpoint.latest(source.checkpoints) / "ema.safetensors")
    own = {name.removeprefix("generator."): each for name, each in tensors.items()}
    for number, held in enumerate([tensors, own]):
        save_file(held, tmp_path / "file.safetensors")
        config = {**SMALL, "model": MODEL}
        prepare("r3gan", data=OTHERS, from_=tmp_path / "file.safetensors", config=config, steps=1)
        with pytest.raises(UserError, match=r"name a model with --plugin, .* does not say which it is of"):
            prepare(data=OTHERS, from_=tmp_path / "file.safetensors", config=config, steps=1)
        said = capsys.readouterr().err
        assert "generator: 19 of 19 tensors\n" in said, number
        assert "discriminator: starts from random weights" in said
    hostile = {
        "text": b"no weights",
        "length": (2**60).to_bytes(8, "little") + b"{}",
        "beyond": b"\x60\0\0\0\0\0\0\0"
        + b'{"a":{"dtype":"F32","shape":[1000000],"data_offsets":[0,4000000]}}'.ljust(96),
        "empty": b"",
    }
    for name, content in hostile.items():
        (tmp_path / f"{name}.safetensors").write_bytes(content)
        with pytest.raises(UserError, match="is no file of weights, or damaged"):
            train(tmp_path, from_=tmp_path / f"{name}.safetensors", steps=1)
    os.mkfifo(tmp_path / "fifo.safetensors")
    torch.save(own, tmp_path / "own.pt")
    for name, said in {
        "fifo.safetensors": "no run folder or file",
        "own.pt": "ganzoo import",
        "none": "no run folder",
    }.items():
        with pytest.raises(UserError, match=said):
            train(tmp_path, from_=tmp_path / name, steps=1)
    save_file({name: torch.full_like(each, torch.inf) for name, each in own.items()}, tmp_path / "file.safetensors")
    with pytest.raises(UserError, match="is not finite from the start"):
        train(tmp_path, from_=tmp_path / "file.safetensors", steps=1)
    assert len(list(tmp_path.glob("*-*"))) == 0


def test_an_exported_file_gives_what_the_export_has_kept(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    before = train(tmp_path, "gan_fc", data=IMAGES, settings={}, steps=1)
    (file,) = ganzoo.export(before, format="onnx", metadata={"license": "CC0-1.0"})
    config = {**SMALL, "model": {}}
    capsys.readouterr()
    run = ganzoo.train(data=OTHERS, config=config, steps=1, from_=file, out=tmp_path)  # which says that it is a gan_fc
    said = capsys.readouterr().err
    assert "generator: 14 of 14 tensors" in said
    assert "discriminator: starts from random weights, as the source has none\n" in said
    assert (run.samples / "000000.png").read_bytes() == (before.samples / "000001.png").read_bytes()
    assert run.document()["source"]["license"] == "CC0-1.0"
    assert ganzoo.load(run).metadata["license"] == "CC0-1.0"
    assert "What they started from is under this license: CC0-1.0." in (run.path / "README.md").read_text()
    model = onnx.load(file)
    (entry,) = (each for each in model.metadata_props if each.key == "ganzoo")
    document = json.loads(entry.value)
    other = {"plugin": "more", "key": "new", "version": "1.2"}
    for about, said in (("gan_fc", "does not say which"), ({}, "does not say which"), (other, "pip install more==1.2")):
        entry.value = json.dumps({**document, "model": about})
        onnx.save(model, tmp_path / "other.onnx")
        with pytest.raises(UserError, match=said):
            prepare(data=OTHERS, from_=tmp_path / "other.onnx")


def test_frozen_layers_stay_as_they_are_in_captured_phases(source: ganzoo.Run) -> None:
    settings = overlay({**SMALL, "model": MODEL, "steps": 9}, TUNED)
    config, dataset, _ = prepare("r3gan", data=OTHERS, config=settings, from_=source, quiet=True)
    after = []
    for graphs in (None, Tapes):
        checkpoint.seed_random(0)
        loop = ganzoo.Loop(config.build_trainer(dataset.spec), dataset, config.train, graphs)
        before = copy.deepcopy(loop.trainer.networks["discriminator"].state_dict())
        for _ in range(6):
            loop.advance()
        after.append(loop.trainer.networks["discriminator"].state_dict())
        same = {name.split(".")[1] for name, each in before.items() if torch.equal(each, after[-1][name])}
        assert same == {"0", "1"}
        assert loop.captures is None or not loop.captures.refused
    assert all(torch.equal(each, after[1][name]) for name, each in after[0].items())


def test_freezing_is_refused_where_it_makes_no_sense(source: ganzoo.Run, tmp_path: Path) -> None:
    with pytest.raises(UserError, match=r"freeze_discriminator=5 leaves nothing .* which has 5 layers: body.0, body.1"):
        train(tmp_path, config={"freeze_discriminator": 5}, steps=1)
    with pytest.raises(UserError, match="freeze_discriminator"):
        train(tmp_path, sets=["freeze_discriminator=-1"], steps=1)
    with pytest.raises(UserError, match="keeps layers as a source has them: give one with --from, or freeze none"):
        train(tmp_path, config={"freeze_discriminator": 1}, steps=1)
    rest = {name: each for name, each in weights(source).items() if not name.startswith("discriminator.body.0.")}
    save_file(rest, tmp_path / "one.safetensors")
    with pytest.raises(
        UserError, match=r"freeze_discriminator=1 keeps body.0 of the discriminator as .* no weights of"
    ):
        train(tmp_path, from_=tmp_path / "one.safetensors", config={"freeze_discriminator": 1}, steps=1)
    (tmp_path / "one.safetensors").unlink()
    assert not list(tmp_path.iterdir())


def test_layers_are_those_from_the_image_on() -> None:
    registry = ganzoo.load_registry()
    expected = {
        "stylegan2": ["from_image", "blocks.0", "blocks.1", "convolution", "hidden", "score"],
        "dcgan": ["body.0", "body.2"],
    }
    for model, names in expected.items():
        config = ganzoo.load_config(registry, model, flags={"data": {"name": "mnist5k"}})
        discriminator = config.build_trainer(config.build_dataset().spec).networks["discriminator"]
        assert [name for name, _ in layers(discriminator)][: len(names)] == names


def test_the_model_is_that_of_the_source(source: ganzoo.Run, tuned: ganzoo.Run, tmp_path: Path) -> None:
    before = source.document()
    for run in (tuned, source):
        config, _, _ = prepare(data=OTHERS, from_=run, device="cpu", quiet=True)
        assert config.model.entry.name == before["plugin"]
        assert config.to_dict()["model"] == run.document()["model"]
        assert (config.train.steps, config.train.batch_size) == (8000, 32)  # the model's own
    assert config.model == prepare("r3gan", data=OTHERS, from_=source, device="cpu", quiet=True).config.model
    run = ganzoo.train(from_=source, data=OTHERS, steps=1, device="cpu", out=tmp_path, quiet=True)
    assert (run.samples / "000000.png").read_bytes() == (source.samples / "000003.png").read_bytes()


def of(source: Any, plugin: str | None = None, **layers: Any) -> dict[str, Any]:
    return ganzoo.load_config(ganzoo.load_registry(), plugin, source=source, **layers).to_dict()


@pytest.fixture(scope="module")
def document() -> dict[str, Any]:
    """The config of a training with settings of its own everywhere."""
    model = {"latent_dim": 7, "conditional": True, "optimizer": {"name": "adamw", "lr": 0.5}}
    data = {"name": "folder", "path": "/images", "size": 16}
    more = {"model": model, "data": data, "loss": {"name": "wgan_gp", "drift": 0.5}, "regularizer": {"r1": False}}
    return of(None, "stylegan2", file={"steps": 7, "batch_size": 8, "ema": 0.5, **more})


def test_of_a_config_the_gan_is_taken_over_and_not_how_it_was_trained(document: dict[str, Any]) -> None:
    taken, new = of(document), of(None, "stylegan2")
    gan = ("plugin", "model", "loss", "regularizer", "data")
    assert document["regularizer"].keys() == {
        f"torch-ganzoo/{key}" for key in ("r1", "gradient_penalty", "path_length")
    }
    assert {key: taken[key] for key in gan} == {key: document[key] for key in gan}
    assert {key: taken[key] for key in taken if key not in (*gan, "metric")} == {
        key: new[key] for key in new if key not in (*gan, "metric")
    }
    assert of(document, "stylegan2") == of(document, "torch-ganzoo/stylegan2") == taken


def test_what_is_given_comes_before_what_is_taken_over(document: dict[str, Any]) -> None:
    assert of(document, "stylegan3") == of(None, "stylegan3")
    assert of(document, file={"plugin": "dcgan", "steps": 3}) == of(None, "dcgan", file={"steps": 3})
    taken = of(document, preset="cifar", sets=["model.style_dim=9"], file={"model": {"channel_max": 5}})
    assert {key: taken["model"][key] for key in ("latent_dim", "style_dim", "channel_max")} == {
        "latent_dim": 512,
        "style_dim": 9,
        "channel_max": 5,
    }
    assert (taken["model"]["optimizer"]["lr"], taken["model"]["conditional"]) == (2.5e-3, True)
    assert taken["regularizer"]["torch-ganzoo/r1"]["weight"] == 0.01  # which the preset names
    # The gradient penalty came with the loss, and goes with it; no setting of other data is kept.
    other = of(document, flags={"loss": {"name": "hinge"}, "data": {"name": "folder", "path": "/others"}})
    assert other["regularizer"].keys() == {"torch-ganzoo/r1", "torch-ganzoo/path_length"}
    assert other["loss"] == of(None, "stylegan2", sets=["loss.name=hinge"])["loss"]
    assert other["data"] == of(None, "stylegan2", file={"data": {"name": "folder", "path": "/others"}})["data"]
    assert of(document, sets=["data.size=8"])["data"] == {**document["data"], "size": 8}


@pytest.mark.parametrize(
    ("known", "said"),
    [
        ({}, "name a model with --plugin, .* as what the training starts from does not say which it is of"),
        ({"plugin": 3}, "'plugin' is a name, not 3"),
        ({"plugin": "gan_fc", "model": 3}, "'model' is a table of settings, not 3"),
        ({"plugin": "more/new"}, "unknown model 'more/new'"),
        (
            {"plugin": "more/new", "environment": {"plugins": {"more": "1.2"}}},
            "it was trained with the model 'new' of more 1.2, which is not installed; pip install more==1.2",
        ),
        (
            {"plugin": "torch-ganzoo/gan_fc", "data": {"name": "torch-ganzoo/given"}},
            "learned from data without a name: give data with --data",
        ),
        ({"plugin": "torch-ganzoo/gan_fc", "model": {"old": 1}}, "unknown setting 'model.old'"),
    ],
)
def test_a_source_whose_model_is_not_known_or_not_here(known: dict[str, Any], said: str) -> None:
    with pytest.raises(UserError, match=said):
        of(known)


def test_a_model_that_is_named_needs_none_of_the_source() -> None:
    assert of({"plugin": "more/new", "data": {"name": "more/data"}}, "dcgan") == of({}, "dcgan") == of(None, "dcgan")


def test_an_entry_of_the_zoo(capsys: pytest.CaptureFixture[str]) -> None:
    prepared = prepare(steps=1, from_="zoo:gan_fc-mnist5k", config=SMALL)
    said = capsys.readouterr().err.splitlines()
    assert said[0] == "from zoo:gan_fc-mnist5k: generator: 14 of 14 tensors"
    assert said[1].endswith("discriminator: starts from random weights, as the source has none")
    assert (prepared.config.model.key, prepared.config.data.key) == ("gan_fc", "mnist5k")
    assert prepared.config.train.source is not None
    assert prepared.config.train.source.license == "Apache-2.0"
    resolved = prepare(steps=1, from_="zoo:acgan-shapes", config=SMALL, quiet=True).config.to_dict()
    assert (resolved["data"]["name"], resolved["model"]["class_weight"]) == ("torch-ganzoo/shapes", 2.0)
    with pytest.raises(UserError, match=r"given has none; .* some are with --set model\.conditional=false"):
        prepare(steps=1, from_="zoo:biggan-mnist5k", data=IMAGES, config=SMALL)


def test_frozen_layers_of_images_of_another_size(source: ganzoo.Run, tmp_path: Path) -> None:
    """The new stage is behind the layers that are frozen, which are the source's, from the image on."""
    data = torch.rand(32, 1, 32, 32, generator=torch.Generator().manual_seed(1))
    run = ganzoo.train(
        from_=source, data=data, config={**SMALL, "freeze_discriminator": 4}, steps=1, out=tmp_path, quiet=True
    )
    before, after = weights(source), weights(run)
    places = {"0": "0", "1": "1", "3": "3", "5": "5", "8": "6"}
    for name in (name for name in after if name.startswith("discriminator.")):
        _, body, place, *rest = name.split(".")
        start = before.get(f"discriminator.{body}.{places.get(place)}.{'.'.join(rest)}")
        assert (start is not None and torch.equal(after[name], start)) == (place in ("0", "1", "3", "5")), name
    with pytest.raises(
        UserError, match=r"freeze_discriminator=5 keeps body.7 of the discriminator as .* no weights of"
    ):
        ganzoo.train(from_=source, data=data, config={**SMALL, "freeze_discriminator": 5}, steps=1, out=tmp_path)
