"""Programs of torch.export: the file gives what the network gives, or there is no file; and it is never opened."""

from __future__ import annotations

import json
import re
import zipfile
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import Command
from test_export import NETWORKS, Conv, Fc
from torch import Tensor

import ganzoo
from ganzoo import GanzooError, Latent, Network, Points, Signature, UserError
from ganzoo import Generator as GeneratorNetwork
from ganzoo_exporters import parity, pt2
from ganzoo_exporters.format import Pt2
from ganzoo_runtime import Generator


def entries(path: Path) -> dict[str, bytes]:
    """The files in the archive, by what follows the name that is in front of all."""
    with zipfile.ZipFile(path) as archive:
        return {name.partition("/")[2]: archive.read(name) for name in archive.namelist()}


@pytest.mark.parametrize("name", NETWORKS)
def test_the_file_gives_what_the_network_gives(name: str, tmp_path: Path) -> None:
    torch.manual_seed(0)
    network = NETWORKS[name]().train()
    for _ in range(5):  # moves the running means and the vectors of spectral norm
        network(*map(torch.from_numpy, network.signature.examples(16)))
    before = {key: value.clone() for key, value in network.state_dict().items()}
    path = tmp_path / "model.pt2"
    document = Pt2().export(network, path, {"model": name, "license": "é ✓"})
    assert network.training
    assert all(torch.equal(value, before[key]) for key, value in network.state_dict().items())
    assert [*tmp_path.iterdir()] == [path]
    module = torch.export.load(path).module()
    for batch in (1, 2, 5, 65):
        inputs = [*map(torch.from_numpy, network.signature.examples(batch, seed=batch))]
        with torch.no_grad():
            torch.testing.assert_close(module(*inputs), network.eval()(*inputs), atol=1e-5, rtol=0)
    found = entries(path)
    assert json.loads(found["extra/ganzoo.json"]) == document
    assert Signature.from_json(document["signature"]) == network.signature
    assert (document["model"], document["license"], document["precision"]) == (name, "é ✓", "fp32")
    assert document["parity"]["max_difference"] <= document["parity"]["tolerance"] == pt2.TOLERANCE
    # Neither pickles, which whoever loads the file would run, nor paths of whoever has written it.
    assert not any(content[:1] == b"\x80" or b"data.pkl" in content for content in found.values())
    assert not any(re.search(rb"\.py|/home|/tests", content) for content in found.values())


def test_what_cannot_be_written_leaves_no_file(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    class Noisy(Fc):
        def forward(self, z: Tensor) -> Tensor:
            return super().forward(z + torch.randn_like(z))

    class Branching(Fc):
        def forward(self, z: Tensor) -> Tensor:
            return super().forward(z) if z.sum() > 100 else super().forward(z) * 0.5

    class Fixed(Fc):
        def forward(self, z: Tensor) -> Tensor:
            return super().forward(z.reshape(3, 8)) if len(z) == 3 else super().forward(z)

    path = tmp_path / "model.pt2"
    for network, words in (
        (Noisy(), "it draws random numbers inside"),
        (Branching(), "the network cannot be exported: "),
        (Fixed(), "the network cannot be exported: "),
    ):
        with pytest.raises(GanzooError, match=words):
            Pt2().export(network, path, {})
    with pytest.raises(UserError, match="the metadata cannot be written: the direction 'x'"):
        Pt2().export(Fc(), path, {"directions": {"x": 3}})
    for options in ({"precision": "fp16"}, {"pixels": "NCHW"}, {"target": "cpu"}):
        with pytest.raises(UserError, match=r"a \.pt2 computes and returns float32"):
            Pt2().export(Conv(), path, {}, **options)  # type: ignore[arg-type]
    real = parity.apply
    monkeypatch.setattr(parity, "apply", lambda *given: real(*given) + 1e-3)
    with pytest.raises(GanzooError, match=r"differs from torch by .* at batch size \d+, .*; nothing was written"):
        Pt2().export(Fc(), path, {})
    assert [*tmp_path.iterdir()] == []


class Marker:
    def __reduce__(self) -> Any:
        return (Path.touch, (Path("executed"),))


def test_a_file_is_not_opened(cli: Command, tmp_path: Path) -> None:
    """Not even one of our own: torch unpickles what it finds in such an archive."""
    Pt2().export(Fc(), Path("model.pt2"), {})
    torch.save(Marker(), "evil.pt2")
    for name in ("model.pt2", "evil.pt2"):
        cli("sample", name).refused("writes and does not read", "reading a .pt2 can run code that is in it")
        with pytest.raises(UserError, match=r"use torch\.export\.load"):
            ganzoo.load(name)
    assert not Path("executed").exists()


def test_the_command(cli: Command, trained: dict[str, Path]) -> None:
    run = trained["digits"]
    outcome = cli("export", run, "--format", "pt2", "--out", "a.pt2")
    assert outcome.out == "a.pt2\n"
    assert "largest difference to torch" in outcome.err
    assert cli("export", run, "--out", "b.pt2").out == "b.pt2\n"  # by its suffix
    assert cli("export", run, "--out", "c.onnx").out == "c.onnx\n"
    assert entries(Path("a.pt2")).keys() == entries(Path("b.pt2")).keys()
    names = [
        Path(path).name
        for path in json.loads(cli("export", run, "--format", "pt2", "--all", "--out", "all", "--json").out)
    ]
    assert names == ["generator.pt2", "discriminator.pt2"]
    sampled = torch.from_numpy(Generator("c.onnx").sample(5, seed=3))
    z = torch.from_numpy(Generator("c.onnx").latents(5, seed=3))
    torch.testing.assert_close(torch.export.load("a.pt2").module()(z), sampled, atol=1e-5, rtol=0)
    wrong: list[tuple[tuple[str, ...], str]] = [
        (("--format", "pt3"), "unknown format 'pt3'; did you mean 'pt2'"),
        (("--out", "model.xyz"), "unknown format 'xyz'"),
        (("--out", "model"), "name the format: ganzoo export --onnx, or --format and one of onnx, pt2"),
        (("--onnx", "--format", "pt2"), "--onnx and --format pt2 are two formats; give one of them"),
        (("--format", "pt2", "--out", "a.onnx"), "a file of the format pt2 ends in .pt2, not a.onnx"),
        (("--format", "pt2", "--precision", "int8"), "a .pt2 computes and returns float32"),
        (("--format", "pt2", "--pixels", "nchw"), "a .pt2 computes and returns float32"),
        (("--format", "pt2", "--for", "cpu"), "a .pt2 computes and returns float32"),
        (("--format", "pt2", "--web", "page"), "--web is made of an .onnx file: give --onnx"),
        (("--format", "pt2", "--triton", "models"), "--triton is made of an .onnx file: give --onnx"),
        (("--all", "--out", "some.pt2"), "name the format"),
    ]
    for arguments, words in wrong:
        cli("export", run, *arguments).refused(words)


def test_a_third_partys_format(
    cli: Command, trained: dict[str, Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    from sites import Site, importable

    source = """
from ganzoo import Format

class Text(Format):
    def export(self, network, path, metadata, pixels=None, precision="fp32"):
        path.write_text(" ".join(network.state_dict()))
        return {"license": metadata["license"]}

class Forgets(Text):
    def export(self, network, path, metadata, **options):
        return {}
"""
    specs = "[Spec('format', 'txt', 'S.', 'other_text:Text'), Spec('format', 'none', 'S.', 'other_text:Forgets')]"
    with importable(tmp_path):
        Site(tmp_path).add("other", plugin=f"@hookimpl\ndef ganzoo_specs():\n    return {specs}\n")
        (tmp_path / "other_text.py").write_text(source)
        outcome = cli("export", trained["digits"], "--out", "a.txt")
        assert (outcome.out, outcome.err) == ("a.txt\n", "0.00 MB\n")
        assert "weight" in Path("a.txt").read_text()
        cli("export", trained["digits"], "--out", "a.txt", "--for", "cpu").refused("the format txt takes no target")
        cli("sample", "a.txt").refused("a.txt is a file that ganzoo writes and does not read; export another")
        failed = cli("export", trained["digits"], "--format", "none")
        assert failed.code == 1
        assert "the format none did not write" in failed.err


def test_points_and_a_network_of_one_size(tmp_path: Path) -> None:
    """A batch that is fixed inside is found by the comparison at other sizes."""

    class Fixed(GeneratorNetwork):
        def __init__(self) -> None:
            super().__init__(Signature((Latent((2,)),), Points(2)))
            self.shift = torch.nn.Parameter(torch.ones(3, 2))

        def forward(self, z: Tensor) -> Tensor:
            return z + (self.shift if len(z) == 3 else self.shift[:1])

    network: Network = Fixed()
    with pytest.raises(GanzooError, match="the network cannot be exported"):
        Pt2().export(network, tmp_path / "a.pt2", {})
    assert [*tmp_path.iterdir()] == []
