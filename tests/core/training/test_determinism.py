"""Deterministic trainings: what is switched, what is refused, and equal to the bit."""

import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file
from small import small

from ganzoo import Run, UserError
from ganzoo.runs import checkpoint
from ganzoo.training.determinism import determinism
from ganzoo.training.loop import Loop


def switches():
    cudnn = torch.backends.cudnn
    return torch.are_deterministic_algorithms_enabled(), cudnn.deterministic, cudnn.benchmark


def test_determinism_is_put_back(monkeypatch):
    import os

    monkeypatch.delenv("CUBLAS_WORKSPACE_CONFIG", raising=False)
    before = switches()
    with determinism(True):
        assert switches() == (True, True, False)
        assert os.environ["CUBLAS_WORKSPACE_CONFIG"] == ":4096:8"
    assert switches() == before
    assert "CUBLAS_WORKSPACE_CONFIG" not in os.environ
    with (
        pytest.raises(UserError, match=r"^kthvalue_cuda has no deterministic form .* without --deterministic$"),
        determinism(True),
    ):
        raise RuntimeError("kthvalue_cuda does not have a deterministic implementation, but you set ...")
    with pytest.raises(RuntimeError, match="other"), determinism(True):
        raise RuntimeError("other")
    assert switches() == before
    with determinism(False):
        assert switches() == before


def test_a_deterministic_run_says_so_and_stays_so(tmp_path, monkeypatch, cli):
    seen = []
    advance = Loop.advance
    monkeypatch.setattr(Loop, "advance", lambda self: (seen.append(switches()), advance(self)))
    before = switches()
    arguments = ("-p", "gan_fc", "--data", "gaussians", "--set", "model.hidden=[8]", "--device", "cpu", "-q")
    assert cli("train", *arguments, "--steps", 2, "--deterministic", "--out", tmp_path).code == 0
    (path,) = tmp_path.iterdir()
    assert Run.open(path).document()["deterministic"] is True
    assert cli("train", "--resume", path, "--steps", 3, "-q").code == 0
    assert seen == [(True, True, False)] * 3
    assert switches() == before


def test_an_operation_without_a_deterministic_form_is_one_sentence(cli, monkeypatch):
    from ganzoo_plugins.losses.non_saturating import NonSaturating

    def discriminator(self, real, fake):
        torch.use_deterministic_algorithms(torch.are_deterministic_algorithms_enabled())
        if torch.are_deterministic_algorithms_enabled():
            raise RuntimeError("median CUDA with indices output does not have a deterministic implementation, but ...")
        return fake.mean() - real.mean()

    monkeypatch.setattr(NonSaturating, "discriminator", discriminator)
    arguments = ("-p", "gan_fc", "--data", "gaussians", "--loss", "non_saturating", "--steps", 1, "-q", "--dry-run")
    cli("train", *arguments, "--deterministic").refused("no deterministic form", "without --deterministic")


@pytest.mark.gpu
@pytest.mark.parametrize("capture", [True, False])
@pytest.mark.parametrize("model", ["wgan_gp_conv", "cyclegan", "began"])
def test_deterministic_runs_and_a_resumed_one_are_equal_to_the_bit(tmp_path, model, capture):
    def go(*arguments):
        # In processes of their own, since cuBLAS reads its setting once.
        subprocess.run([sys.executable, "-m", "ganzoo", "train", "-q", *map(str, arguments)], check=True)

    sets = [
        *small(model),
        "batch_size=4",
        "checkpoint_every=20",
        "sample_every=1000",
        f"capture={str(capture).lower()}",
    ]
    settings = [word for each in sets for word in ("--set", each)]
    for name, steps in {"a": 40, "b": 40, "c": 20}.items():
        go("-p", model, *settings, "--device", "cuda", "--deterministic", "--steps", steps, "--out", tmp_path / name)
    (resumed,) = (tmp_path / "c").iterdir()
    go("--resume", resumed, "--steps", 40)
    ends = {}
    for name in "abc":
        (run,) = (tmp_path / name).iterdir()
        ends[name] = load_file(checkpoint.latest(Run.open(run).checkpoints) / "networks.safetensors")
    differ = {
        other: [name for name, tensor in ends["a"].items() if not torch.equal(tensor, ends[other][name])]
        for other in "bc"
    }
    assert differ == {"b": [], "c": []}, "b: the same again; c: resumed"
