"""Networks that cannot be exported, and what a refusal leaves."""

import logging
from pathlib import Path

import onnx
import pytest
import torch
from test_export import Fc
from torch import Tensor, nn

from ganzoo import (
    GanzooError,
    Latent,
    Network,
    Points,
    Signature,
    UserError,
)
from ganzoo_exporters import export as export_module
from ganzoo_exporters.export import export


class Noisy(Fc):
    def forward(self, z: Tensor) -> Tensor:
        return self.layers(z + 0 * torch.randn_like(z))


class AlwaysDropping(Fc):
    def forward(self, z: Tensor) -> Tensor:
        return self.layers(nn.functional.dropout(z, 0.5, training=True))


class Deceptive(Fc):
    """Gives something else while it is exported."""

    offset = 5e-4

    def forward(self, z: Tensor) -> Tensor:
        out = self.layers(z)
        return out + self.offset if torch.compiler.is_compiling() else out


class Slightly(Deceptive):
    offset = 2e-6


class OneBatchSize(Fc):
    def forward(self, z: Tensor) -> Tensor:
        return self.layers(z) * (2 if z.shape[0] == 3 else 1)


class Untranslatable(Fc):
    def forward(self, z: Tensor) -> Tensor:
        with torch.no_grad():
            return self.layers(z) * torch.linalg.svdvals(z @ z.T + torch.eye(len(z))).amax()


class Two(Fc):
    def forward(self, z: Tensor) -> Tensor:
        return self.layers(z), z


class Dishonest(Fc):
    def forward(self, z: Tensor) -> Tensor:
        return self.layers(z)[:, :1]


class Infinite(Fc):
    def forward(self, z: Tensor) -> Tensor:
        return self.layers(z) / 0


class Failing(Fc):
    def forward(self, z: Tensor) -> Tensor:
        raise RuntimeError("the layer is missing\nand more lines")


class Nameless(Fc):
    def __init__(self) -> None:
        super().__init__()
        self.signature = Signature((Latent((8,), name=""),), Points(2))


@pytest.mark.parametrize(
    ("network", "message"),
    [
        (Noisy, r"draws random numbers inside \(RandomNormalLike\), .* make the noise an input"),
        (AlwaysDropping, r"draws random numbers inside \(Dropout\)"),
        (Deceptive, r"differs from torch by \d\.\d\de-04 of its value range at batch size \d+, more than the .* 1e-05"),
        (OneBatchSize, "cannot be exported: it works for a batch of 3 alone"),
        (Untranslatable, "the network cannot be exported: "),
        (Two, "the network cannot be exported: it returns a tuple, not one tensor"),
        (Dishonest, r"its signature promises float32 \[1, 2\], but it returns float32 \[1, 1\]"),
        (Infinite, "it returns values that are not finite"),
        (Failing, "^the network cannot be exported: the layer is missing$"),
        (Nameless, "its signature has no inputs, or one without a name"),
    ],
)
def test_a_refusal_leaves_the_old_file(
    network: type[Network], message: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    path = tmp_path / "model.onnx"
    path.write_bytes(b"the old file")
    torch.manual_seed(0)
    with pytest.raises(GanzooError, match=message) as caught:
        export(network(), path, {})
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400
    assert path.read_bytes() == b"the old file"
    assert [file.name for file in tmp_path.iterdir()] == ["model.onnx"]
    assert capfd.readouterr() == ("", "")
    assert logging.root.manager.disable == logging.NOTSET


def test_the_tolerance_is_what_the_caller_says(tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = Slightly()
    measured = export(network, tmp_path / "a.onnx", {})["parity"]["max_difference"]
    assert 5e-7 < measured < 5e-6
    with pytest.raises(GanzooError, match=f"differs from torch by {measured:.2e}"):
        export(network, tmp_path / "b.onnx", {}, tolerance=1e-7)
    assert not (tmp_path / "b.onnx").exists()


def test_a_network_that_amplifies_rounding_is_held_to_its_own(tmp_path: Path) -> None:
    class Sharp(Fc):
        """Float32 is as far from the truth in torch as in onnxruntime."""

        def forward(self, z: Tensor) -> Tensor:
            return torch.sin(150 * self.layers(z))

    torch.manual_seed(0)
    network = Sharp()
    parity = export(network, tmp_path / "a.onnx", {})["parity"]
    assert 1e-5 < parity["max_difference"] <= parity["tolerance"] <= 1e-4
    with pytest.raises(GanzooError, match="more than the tolerance of 1e-05"):
        export(network, tmp_path / "b.onnx", {}, tolerance=1e-5)


def test_a_failing_comparison_or_check_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise onnx.checker.ValidationError("bad graph\ndetails")

    monkeypatch.setattr(export_module.onnx.checker, "check_model", fail)
    with pytest.raises(GanzooError, match=r"^the network cannot be exported: bad graph$"):
        export(Fc(), tmp_path / "model.onnx", {})
    assert not list(tmp_path.iterdir())


def test_an_interruption_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupt(*_: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr(export_module, "to_graph", interrupt)
    with pytest.raises(KeyboardInterrupt):
        export(Fc(), tmp_path / "model.onnx", {})
    assert not list(tmp_path.iterdir())


@pytest.mark.parametrize("metadata", [{"fid": float("nan")}, {"path": Path()}])
def test_metadata_that_is_not_json(metadata: dict[str, object], tmp_path: Path) -> None:
    with pytest.raises(GanzooError, match="the metadata cannot be written as JSON"):
        export(Fc(), tmp_path / "model.onnx", metadata)
    assert not list(tmp_path.iterdir())


def test_a_folder_that_cannot_be_written(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(UserError, match="cannot write"):
        export(Fc(), tmp_path / "file" / "model.onnx", {})
