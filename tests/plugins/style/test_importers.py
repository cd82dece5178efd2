"""Published weights of StyleGAN2: the same pictures and scores as by the equations, and files that are refused."""

import argparse
import json
import os
import pickle
from pathlib import Path
from typing import Any

import published
import pytest
import torch
from torch import Tensor

import ganzoo
from ganzoo import UserError, cli
from ganzoo.inference.importing import import_weights
from ganzoo.training.train import prepare

REGISTRY = ganzoo.load_registry()


class State:
    """What a file holds, and random inputs for it."""

    def __init__(self, conditional: bool = False, seed: int = 0) -> None:
        torch.manual_seed(seed)
        self.g, self.ema = published.generator(conditional), published.generator(conditional)
        self.d = published.discriminator(conditional)
        self.z, self.x = torch.randn(8, published.LATENT), torch.rand(8, 3, 16, 16)
        self.y = torch.arange(8) % published.CLASSES if conditional else None

    def same(self, run: ganzoo.Run, group: int = 4) -> None:
        """Compare pictures and scores of a run with those of the equations."""
        given = [] if self.y is None else [self.y]
        expected = published.images(self.ema, self.z, self.y)
        network, _ = run.load(REGISTRY)
        assert (network(self.z, *given) - expected.clamp(-1, 1)).abs().max() < 1e-5
        network.synthesis.limits = (-1e9, 1e9)  # type: ignore[union-attr, assignment]
        assert (network(self.z, *given) - expected).abs().max() < 1e-5 * expected.abs().max()
        scores = published.scores(self.d, self.x, self.y, group)
        judge, _ = run.load(REGISTRY, "discriminator")
        assert (judge(self.x, *given) - scores).abs().max() < 1e-5 * scores.abs().max()


def imported(tmp_path: Path, content: bytes, kind: str, **options: Any) -> ganzoo.Run:
    (tmp_path / "file").write_bytes(content)
    return import_weights(tmp_path / "file", kind, tmp_path / "run", **options)


@pytest.mark.parametrize("conditional", [False, True])
def test_pickles_of_nvidia(conditional: bool, tmp_path: Path) -> None:
    state, side = State(conditional), tmp_path / "side"
    source = f"open({str(side)!r}, 'w').close()"
    run = imported(tmp_path, published.nvlabs(state.g, state.d, state.ema, source, group=2), "stylegan2-ada")
    assert not side.exists()
    state.same(run, group=2)
    document = run.document()
    assert document["model"]["channel_base"] == 64
    assert document["model"]["optimizer"]["lr"] == 2.5e-3  # not that of the small networks
    assert document["data_spec"]["name"] == "afhqcat64"
    assert document["source"]["license"] == "Nvidia Source Code License, non-commercial use only"
    network, metadata = run.load(REGISTRY)
    assert torch.equal(network.mapping.mean, state.ema["mapping.w_avg"])  # type: ignore[union-attr, arg-type]
    assert "non-commercial" in metadata["license"]
    card = (run.path / "README.md").read_text()
    assert "- Imported from: file as stylegan2-ada (sha256 " in card
    assert "The weights: Nvidia Source Code License, non-commercial use only." in card
    assert "random weights" not in card


@pytest.mark.parametrize("training", [False, True])
def test_files_of_rosinality(training: bool, tmp_path: Path) -> None:
    state = State()
    content: dict[str, Any] = {"g_ema": published.rosinality_generator(state.ema)}
    content["d"] = published.rosinality_discriminator(state.d)
    if training:
        content |= {"g": published.rosinality_generator(state.g), "args": argparse.Namespace(size=16), "ada_aug_p": 0.1}
    else:
        content["latent_avg"] = state.ema["mapping.w_avg"]
    torch.save(content, tmp_path / "saved", _use_new_zipfile_serialization=training)
    content_ = (tmp_path / "saved").read_bytes()
    with pytest.raises(UserError, match="does not say how its weights may be used; give their license with --license"):
        imported(tmp_path, content_, "rosinality")
    run = imported(tmp_path, content_, "rosinality", license="CC BY-NC-SA 4.0")
    state.same(run)
    mean = run.load(REGISTRY)[0].mapping.mean  # type: ignore[union-attr]
    if not training:
        assert torch.equal(mean, state.ema["mapping.w_avg"])  # type: ignore[arg-type]
        return
    z = torch.randn(20_000, published.LATENT, generator=torch.Generator().manual_seed(5)).double()
    w = published.mapped({key: each.double() for key, each in state.ema.items()}, z, None)
    assert ((mean - w.mean(0)).abs() < 5 * w.std(0) / 80).all()  # type: ignore[operator]


def test_the_run_is_exported_and_trained_from_and_not_resumed(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    state = State()
    (tmp_path / "g.pkl").write_bytes(published.nvlabs(state.g, state.d, state.ema, ""))
    run = tmp_path / "run"
    cli.main(["import", str(tmp_path / "g.pkl"), "--as", "stylegan2-ada", "--out", str(run)])
    said = capsys.readouterr()
    assert said.out == f"{run}\n"
    assert "non-commercial" in said.err
    cli.main(["export", str(run), "--onnx", "--out", str(tmp_path / "g.onnx")])
    assert "license of the weights: Nvidia Source Code License, non-commercial use only" in capsys.readouterr().err
    file = ganzoo.load(tmp_path / "g.onnx")
    assert file.metadata["license"].endswith("non-commercial use only")
    drawn = torch.from_numpy(file.sampler(state.z.numpy()))
    assert (drawn - published.images(state.ema, state.z, None).clamp(-1, 1)).abs().max() < 1e-5
    with pytest.raises(UserError, match=r"was imported, so there is no training that could go on; start one .* --from"):
        ganzoo.train(resume=run, steps=2)
    options: dict[str, Any] = {"data": torch.rand(16, 3, 16, 16), "quiet": True}
    tuned = prepare(from_=run, config=run / "config.toml", sets=["batch_size=4"], **options).config
    assert tuned.train.source is not None
    assert "non-commercial" in tuned.train.source.license
    with pytest.raises(UserError, match="ganzoo import"):
        prepare(from_=tmp_path / "g.pkl", config=run / "config.toml", **options)


def changed(state: dict[str, Tensor], **changes: Any) -> dict[str, Tensor]:
    return {name: each for name, each in (state | changes).items() if each is not None}


def test_files_that_do_not_fit_are_refused_in_a_sentence(tmp_path: Path) -> None:
    state = State()

    def written(ema: dict[str, Tensor]) -> bytes:
        return published.nvlabs(state.g, state.d, ema, "")

    missing = {name: each for name, each in state.ema.items() if not name.startswith("synthesis.b8.torgb")}
    refused: dict[str, bytes] = {
        "it has no G_ema": pickle.dumps({"G": 1}),
        "is no module of torch": pickle.dumps({"G_ema": {"a": 1}}),
        "no StyleGAN2, whose synthesis": written({"synthesis.input.weight": torch.zeros(2)}),
        "not StyleGAN2's with skip connections": written(missing),
        r"is not \[1, 3, 3, 1\]": written(state.ema | {"synthesis.b8.conv0.resample_filter": torch.ones(4, 4)}),
        "have synthesis.b8.other, which": written(state.ema | {"synthesis.b8.other": torch.ones(4)}),
        "does not fit stylegan2: generator.*has the shape": written(
            state.ema | {"synthesis.b8.conv0.bias": torch.ones(4)}
        ),
        "it is cut short": written(state.ema)[:-100],
        "posix.system, which is code": pickle.dumps({"G_ema": Bomb(tmp_path / "side")}),
    }
    for said, content in refused.items():
        with pytest.raises(UserError, match=said):
            imported(tmp_path, content, "stylegan2-ada")
    with pytest.raises(UserError, match="it has no g_ema"):
        imported(tmp_path, pickle.dumps({}), "rosinality", license="MIT")
    with pytest.raises(UserError, match=r"no tensors by name"):
        imported(tmp_path, pickle.dumps({"g_ema": {"a": "b"}}), "rosinality", license="MIT")
    with pytest.raises(UserError, match="unknown importer 'stylegan'; did you mean"):
        imported(tmp_path, pickle.dumps({}), "stylegan")
    assert {path.name for path in tmp_path.iterdir()} == {"file"}
    (tmp_path / "run").mkdir()
    with pytest.raises(UserError, match="is there already"):
        imported(tmp_path, written(state.ema), "stylegan2-ada")


def test_tensors_of_any_shape_are_one_sentence(tmp_path: Path) -> None:
    state = State()
    for index, name in enumerate(list(state.ema)[::4]):
        wrong = (torch.tensor(1.0), torch.zeros(0, 1, 1, 1), torch.full_like(state.ema[name], torch.nan))[index % 3]
        with pytest.raises(UserError, match=r"cannot be imported|is damaged|does not fit|are not finite|is not \["):
            imported(tmp_path, published.nvlabs(state.g, state.d, state.ema | {name: wrong}, ""), "stylegan2-ada")
        assert not (tmp_path / "run").exists(), name


class Bomb:
    """Runs a command when it is unpickled."""

    def __init__(self, side: Path) -> None:
        self.side = side

    def __reduce__(self) -> Any:
        return os.system, (f"touch {self.side}",)


def test_a_discriminator_that_does_not_fit_is_left_out_and_said_so(tmp_path: Path) -> None:
    state = State()
    state.d["b4.conv.weight"] = torch.zeros(8, 8, 3, 3)  # without a minibatch deviation
    run = imported(tmp_path, published.nvlabs(state.g, state.d, state.ema, ""), "stylegan2-ada")
    said = "The discriminator is not that of the file, and has random weights: the discriminator.convolution.weight has"
    assert said in (run.path / "README.md").read_text()
    assert json.dumps(run.document()["source"]["format"]) == '"stylegan2-ada"'
