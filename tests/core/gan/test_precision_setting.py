"""What the setting ``precision`` stands for, and what a training does with it."""

from __future__ import annotations

import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import Tensor, nn

from ganzoo import Image, Loop, Points, Run, TensorDataset, Trainer, fit, load_config, load_registry
from ganzoo.config.train_settings import TrainSettings
from ganzoo.data.dataset import DataSpec
from ganzoo.fields import Field
from ganzoo.gan import precision
from ganzoo.gan.precision import choose_precision, full_precision, multiplies_bfloat16, products
from ganzoo.gan.trainer import Phase, TrainerConfig
from ganzoo.training.train import prepare

CPU, CUDA = torch.device("cpu"), torch.device("cuda")
PICTURE = Image(1, 8, 8)


@pytest.mark.parametrize("setting", ["fp32", "tf32", "bf16"])
@pytest.mark.parametrize("device", [CPU, CUDA, torch.device("mps")])
def test_a_precision_that_is_named_is_taken(setting: str, device: torch.device) -> None:
    assert choose_precision(setting, device, Points(2)) == setting


@pytest.mark.parametrize(
    ("device", "sample", "fast", "chosen"),
    [
        (CPU, PICTURE, True, "bf16"),
        (CPU, PICTURE, False, "fp32"),
        (CPU, Points(2), True, "fp32"),
        (torch.device("mps"), PICTURE, True, "fp32"),
        (CUDA, PICTURE, True, "tf32"),
        (CUDA, Points(2), False, "tf32"),
    ],
)
def test_auto_is_by_device_processor_and_samples(
    device: torch.device, sample: Field, fast: bool, chosen: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(precision, "multiplies_bfloat16", lambda: fast)
    assert choose_precision("auto", device, sample) == chosen


@pytest.mark.parametrize(
    ("has", "without_onednn", "fast"),
    [
        ({"cpu_name": "Intel Xeon", "avx512_bf16": True, "amx_bf16": True}, False, True),
        ({"cpu_name": "Intel Xeon", "avx512_bf16": True, "amx_bf16": False}, False, False),
        ({"cpu_name": "AMD EPYC", "avx512_bf16": True, "amx_bf16": False}, False, True),
        ({"cpu_name": "AMD EPYC", "avx512_bf16": False, "amx_bf16": False}, False, False),
        ({"cpu_name": "AMD EPYC", "avx512_bf16": True}, True, False),
        ({"architecture": "x86_64", "avx512_bf16": False}, False, False),
        ({"architecture": "arm64", "bf16": True}, False, False),
        ({"architecture": "unknown"}, False, False),
    ],
)
def test_which_processors_multiply_bfloat16(
    has: Mapping[str, Any],
    without_onednn: bool,
    fast: bool,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: has)
    if without_onednn:
        monkeypatch.setattr(torch.backends.mkldnn, "is_available", lambda: False)
    assert multiplies_bfloat16() is fast


def formats() -> set[str]:
    """Return how CUDA multiplies matrices, convolves and runs recurrent layers."""
    cudnn: Any = torch.backends.cudnn
    return {torch.backends.cuda.matmul.fp32_precision, cudnn.conv.fp32_precision, cudnn.rnn.fp32_precision}


def _of_torch() -> None:
    """Leave everything as torch does: convolutions in TF32, products not."""


def _by_older_flags() -> None:
    torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = True, False


def _by_newer_flags() -> None:
    cudnn: Any = torch.backends.cudnn
    torch.backends.cuda.matmul.fp32_precision = cudnn.rnn.fp32_precision = "tf32"
    cudnn.conv.fp32_precision = "ieee"


@pytest.fixture(params=[_of_torch, _by_older_flags, _by_newer_flags])
def cuda_flags(request: pytest.FixtureRequest) -> Iterator[None]:
    """Set torch's flags in one of the ways there are, which needs no device; they are as they were in the end."""
    cudnn: Any = torch.backends.cudnn
    request.param()
    before = torch.backends.cuda.matmul.fp32_precision, cudnn.conv.fp32_precision, cudnn.rnn.fp32_precision
    yield
    after = torch.backends.cuda.matmul.fp32_precision, cudnn.conv.fp32_precision, cudnn.rnn.fp32_precision
    torch.backends.cuda.matmul.allow_tf32, torch.backends.cudnn.allow_tf32 = False, True
    torch.backends.cuda.matmul.fp32_precision = "none"
    assert before == after


@pytest.mark.usefixtures("cuda_flags")
def test_what_cuda_multiplies_in() -> None:
    for setting, format in (("fp32", "ieee"), ("bf16", "ieee"), ("tf32", "tf32")):
        with products(setting, CUDA):
            assert formats() == {format}
            with full_precision(CUDA):
                assert formats() == {"ieee"}
                # What torch advises for second derivatives of recurrent layers.
                with torch.backends.cudnn.flags(enabled=False):
                    pass
            assert formats() == {format}
    with pytest.raises(ZeroDivisionError), products("tf32", CUDA):
        _ = 1 / 0


@pytest.mark.usefixtures("cuda_flags")
def test_on_a_cpu_nothing_is_set_for_cuda() -> None:
    before = formats()
    for setting in ("fp32", "tf32", "bf16"):
        with products(setting, CPU), full_precision(CPU):
            assert formats() == before


class OnCUDA(Trainer):
    """Says that it is on CUDA, is on the CPU, and notes in its passes what CUDA would multiply in."""

    device = CUDA
    averaged = ("network",)

    def __init__(self, data: DataSpec) -> None:
        super().__init__(TrainerConfig(), data, None, {})
        self.network = nn.Linear(64, 1)
        self.networks = {"network": self.network}
        self.optimizers = {"network": torch.optim.SGD(self.network.parameters())}
        self.seen: list[set[str]] = []

    def to(self, device: torch.device) -> None:
        """Stay on the CPU."""

    def prepare(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        return {"x": batch["x"].flatten(1).float()}

    def phases(self) -> list[Phase]:
        return [Phase("network", self.loss_of, ("network",), "network")]

    def loss_of(self, batch: Mapping[str, Tensor]) -> dict[str, Tensor]:
        scores = self.network(batch["x"])
        self.seen.append(formats())
        scores.register_hook(lambda gradient: self.seen.append(formats()))
        return {"loss": scores.mean()}


@pytest.mark.parametrize(("setting", "format"), [("auto", "tf32"), ("fp32", "ieee"), ("tf32", "tf32")])
@pytest.mark.usefixtures("cuda_flags")
def test_forward_and_backward_pass_of_a_phase_multiply_in_the_same_way(setting: Any, format: str) -> None:
    dataset = TensorDataset(DataSpec("noise", (PICTURE,), 8), {"x": torch.zeros(8, 1, 8, 8, dtype=torch.uint8)})
    trainer = OnCUDA(dataset.spec)
    Loop(trainer, dataset, TrainSettings(batch_size=4, precision=setting, capture=False)).advance()
    assert trainer.seen == [{format}, {format}]


TINY = ("data.name=digits", "model.width=2", "model.latent_dim=4", "batch_size=8", "device=cpu")


def precision_of(run: Path) -> str:
    """Return what config.toml says."""
    return str(tomllib.loads((run / "config.toml").read_text())["precision"])


@pytest.mark.parametrize("fast", [True, False])
def test_a_run_keeps_what_auto_was(fast: bool, cli: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "multiplies_bfloat16", lambda: fast)
    assert prepare("wgan_gp_conv", sets=TINY, quiet=True).config.train.precision == ("bf16" if fast else "fp32")
    sets = [part for each in TINY for part in ("--set", each)]
    assert cli("train", "-p", "wgan_gp_conv", *sets, "--steps", "2", "-q").code == 0
    (run,) = Path("runs").iterdir()
    assert precision_of(run) == ("bf16" if fast else "fp32")
    # On another machine:
    monkeypatch.setattr(precision, "multiplies_bfloat16", lambda: not fast)
    assert prepare(resume=run, steps=3, quiet=True).config.train.precision == ("bf16" if fast else "fp32")
    assert cli("train", "--resume", run, "--steps", "3", "-q").code == 0
    assert precision_of(run) == ("bf16" if fast else "fp32")


def test_a_config_that_was_not_rehearsed_is_recorded_too(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "multiplies_bfloat16", lambda: True)
    registry = load_registry()
    config = load_config(registry, "wgan_gp_conv", sets=[*TINY, "steps=1"])
    dataset = config.build_dataset()
    run = Run.create(tmp_path, config, dataset.spec)
    assert precision_of(run.path) == "auto"
    fit(config, run, registry, dataset, quiet=True)
    assert precision_of(run.path) == "bf16"


@pytest.mark.parametrize(
    ("fast", "said"),
    [(True, "bf16 for images, fp32 for other samples"), (False, "fp32; the processor has neither AMX nor")],
)
def test_doctor_says_what_auto_is_here(fast: bool, said: str, cli: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(precision, "multiplies_bfloat16", lambda: fast)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: False)
    assert said in cli("doctor").out
    if fast:
        monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
        monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
        monkeypatch.setattr(torch.cuda, "get_device_name", lambda index: "a GPU")
        assert "tf32, as on any cuda device" in cli("doctor").out


@pytest.mark.gpu
def test_products_on_cuda_are_as_coarse_as_they_say() -> None:
    torch.manual_seed(0)
    a, x, kernel = torch.randn(512, 512), torch.randn(8, 64, 32, 32), torch.randn(64, 64, 3, 3)
    exact = a.double() @ a.double(), nn.functional.conv2d(x.double(), kernel.double())

    def errors(setting: str) -> list[float]:
        with products(setting, CUDA):
            found = a.cuda() @ a.cuda(), nn.functional.conv2d(x.cuda(), kernel.cuda())
        pairs = zip(found, exact, strict=True)
        return [((each.cpu() - right).abs().max() / right.abs().max()).item() for each, right in pairs]

    assert max(errors("fp32")) < 1e-5
    if torch.cuda.get_device_capability() >= (8, 0):
        assert min(errors("tf32")) > 1e-5
        assert max(errors("tf32")) < 1e-2
