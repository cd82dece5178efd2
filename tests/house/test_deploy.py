"""Exports of every kind: for a device, with pixels, with weights beside the file, of every network."""

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnxruntime
import pytest
import torch
from conftest import Command
from exported import Small, kinds_of, seeded
from torch import Tensor, nn

import ganzoo
from ganzoo import GanzooError, Image, Label, Latent, Points, Signature, UserError
from ganzoo import Generator as GeneratorNetwork
from ganzoo_exporters import export as exporting
from ganzoo_exporters.export import export
from ganzoo_exporters.format import Onnx
from ganzoo_runtime import Generator, ModelError, cpu
from ganzoo_runtime.images import pixels as to_pixels

CPU = ["CPUExecutionProvider"]


@pytest.mark.parametrize("inline", [2**30, 1000])
def test_a_file_for_cpus_holds_what_the_runtime_makes_of_one_for_any_device(inline: int, tmp_path: Path) -> None:
    network = seeded(lambda: Small(width=16))
    usual = export(network, tmp_path / "any.onnx", {}, pixels="NHWC")
    document = export(network, tmp_path / "cpu.onnx", {}, pixels="NHWC", target="cpu", inline=inline)
    assert (usual["target"], document["target"]) == ("any", "cpu")
    assert kinds_of(tmp_path / "any.onnx").count("ConvTranspose") == 2
    # weights in a file of their own stay as they are
    assert kinds_of(tmp_path / "cpu.onnx").count("ConvTranspose") == (1 if inline > 1000 else 2)
    onnx.checker.check_model(tmp_path / "cpu.onnx", full_check=True)
    arrays = network.signature.examples(5)
    found, wanted = (Generator(tmp_path / name, providers=CPU)(*arrays) for name in ("cpu.onnx", "any.onnx"))
    np.testing.assert_array_equal(found, wanted)
    session = onnxruntime.InferenceSession(tmp_path / "any.onnx", providers=CPU)
    plain = session.run(None, dict(zip(("z", "y"), arrays, strict=True)))[0]
    assert np.abs(plain.astype(int) - wanted).max() <= 1


def test_a_file_is_compared_as_it_is_and_as_the_runtime_rewrites_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    network, plain = seeded(lambda: Small(width=16)), exporting._plain
    monkeypatch.setattr(exporting, "_plain", lambda file: lambda *arrays: plain(file)(*arrays) + 0.01)
    with pytest.raises(GanzooError, match="differs from torch by"):
        export(network, tmp_path / "model.onnx", {})
    monkeypatch.setattr(exporting, "_plain", plain)
    weight = cpu._Rewriting._weight
    larger = lambda self, values: weight(self, values * (2 if values.ndim == 4 else 1))  # noqa: E731
    monkeypatch.setattr(cpu._Rewriting, "_weight", larger)
    with pytest.raises(GanzooError, match="differs from torch by"):
        export(network, tmp_path / "model.onnx", {})


@pytest.mark.parametrize(("layout", "limits"), [("NCHW", (-1.0, 3.0)), ("NHWC", (0.0, 1.0))])
def test_pixels_are_those_of_the_numbers(layout: Any, limits: tuple[float, float], tmp_path: Path) -> None:
    network = seeded(lambda: Small(*limits, gain=10))
    export(network, tmp_path / "numbers.onnx", {})
    document = export(network, tmp_path / "pixels.onnx", {}, pixels=layout)
    arrays = network.signature.examples(50, seed=3)
    wanted = to_pixels(Generator(tmp_path / "numbers.onnx", providers=CPU)(*arrays), limits)
    assert {0, 255} < {*wanted.ravel()}
    session = onnxruntime.InferenceSession(tmp_path / "pixels.onnx", providers=CPU)
    (found,) = session.run(None, dict(zip(("z", "y"), arrays, strict=True)))
    assert found.dtype == np.uint8
    # The same but where the last bit of a sum decides: onnxruntime joins the first step with a convolution.
    same = found if layout == "NHWC" else found.transpose(0, 2, 3, 1)
    assert np.abs(same.astype(int) - wanted).max() <= 1
    assert (same == wanted).mean() > 0.999
    field = Signature.from_json(document["signature"]).output
    assert field == Image(3, 8, 12, (0.0, 255.0), layout=layout)
    assert (field.dtype, list(field.shape)) == ("uint8", list(found.shape[1:]))
    assert session.get_outputs()[0].shape == ["batch", *field.shape]
    assert 0 <= document["parity"]["max_difference"] <= document["parity"]["tolerance"]


def test_pixels_are_for_images_alone(tmp_path: Path) -> None:
    class Dots(GeneratorNetwork):
        def __init__(self) -> None:
            super().__init__(Signature((Latent((2,)),), Points(2)))
            self.layer = nn.Linear(2, 2)

        def forward(self, z: Tensor) -> Tensor:
            return self.layer(z)

    with pytest.raises(UserError, match="pixels are for images, and this network returns points"):
        export(seeded(Dots), tmp_path / "a.onnx", {}, pixels="NCHW")
    assert not list(tmp_path.iterdir())


def test_large_weights_lie_in_one_file_beside_it(tmp_path: Path) -> None:
    one, other = seeded(Small), seeded(lambda: Small(width=16))
    path = tmp_path / "here" / "model.onnx"
    export(one, path, {}, inline=1000)
    first = {file.name for file in path.parent.iterdir()}
    assert len(first) == 2
    (tmp_path / "here" / "model-other.data").write_text("somebody's")
    export(other, path, {}, inline=1000)
    second = {file.name for file in path.parent.iterdir()}
    assert second & first == {"model.onnx"}
    assert len(second) == 3
    moved = shutil.copytree(path.parent, tmp_path / "there")
    shutil.rmtree(path.parent)
    arrays = other.signature.examples(5)
    with torch.no_grad():
        expected = other(*map(torch.from_numpy, arrays)).numpy()
    np.testing.assert_allclose(Generator(moved / "model.onnx", providers=CPU)(*arrays), expected, atol=2e-5)
    with pytest.raises(ModelError, match="keeps weights in another file"):
        Generator((moved / "model.onnx").read_bytes(), providers=CPU)
    export(other, moved / "model.onnx", {})
    assert {file.name for file in moved.iterdir()} == {"model.onnx", "model-other.data"}


def test_a_failure_leaves_the_old_weights(tmp_path: Path) -> None:
    export(seeded(Small), tmp_path / "model.onnx", {}, inline=1000)
    before = {file.name: file.read_bytes() for file in tmp_path.iterdir()}
    with pytest.raises(GanzooError, match="differs from torch"):
        export(seeded(lambda: Small(width=9)), tmp_path / "model.onnx", {}, inline=1000, tolerance=0.0)
    assert {file.name: file.read_bytes() for file in tmp_path.iterdir()} == before


# --- The command


def test_every_network_of_a_model(cli: Command, trained: dict[str, Path]) -> None:
    run = Path(shutil.copytree(trained["digits"], "run"))
    (run / "generator.onnx").unlink(missing_ok=True)
    outcome = cli("export", run, "--onnx", "--all")
    assert outcome.out.split() == [str(Path("run", name)) for name in ("generator.onnx", "discriminator.onnx")]
    critic = Onnx().load(run / "discriminator.onnx")
    assert critic.metadata["network"] == "discriminator"
    assert critic.signature["output"]["kind"] == "scores"
    documents = json.loads(cli("export", run, "--onnx", "--all", "--json", "--out", "all", "--pixels", "nhwc").out)
    assert [Path(path).name for path in documents] == ["generator.onnx", "discriminator.onnx"]
    assert [each["signature"]["output"]["dtype"] for each in documents.values()] == ["uint8", "float32"]
    blind = "discriminator: int8 is calibrated on latents, and this network takes image 'x'"
    cli("export", run, "--onnx", "--all", "--precision", "int8").refused(blind)
    cli("export", run, "--onnx", "--all", "--out", "a.onnx").refused("every network is a file", "a folder, not a.onnx")


def test_export_from_python(trained: dict[str, Path], tmp_path: Path) -> None:
    run = trained["digits"]
    entry = {"latent": "z", "vector": [0.5, 0.0, 0.0, 0.5], "range": [-3, 3], "method": "by hand"}
    extra = {"directions": {"bold": entry}, "license": "CC0"}
    written = ganzoo.export(run, tmp_path / "all", every_network=True, metadata=extra, pixels="NCHW")
    assert [*written] == [tmp_path / "all" / "generator.onnx", tmp_path / "all" / "discriminator.onnx"]
    main, other = written.values()
    assert (main["directions"], main["license"]) == (extra["directions"], "CC0")
    assert (other["directions"], other["license"]) == ({}, "CC0")  # it has no latents that they could be of
    assert main == Onnx().load(tmp_path / "all" / "generator.onnx").metadata
    (path,) = ganzoo.export(ganzoo.Run.open(run), tmp_path / "a.onnx", precision="fp16")
    assert Onnx().load(path).metadata["precision"] == "fp16"
    before = {file: file.read_bytes() for file in tmp_path.rglob("*.onnx")}
    wrong: list[tuple[dict[str, Any], str]] = [
        ({"out": tmp_path / "a.pt"}, "unknown format 'pt'"),
        ({"format": "onnx", "out": tmp_path / "a.pt"}, "a file of the format onnx ends in .onnx, not "),
        ({"format": "onxn"}, "unknown format 'onxn'; did you mean 'onnx'"),
        ({"out": tmp_path / "a.onnx", "every_network": True}, "what is written to is a folder, not "),
        ({"out": tmp_path / "all", "every_network": True, "precision": "int8"}, "discriminator: int8 is calibrated"),
        ({"run": tmp_path / "nowhere"}, "there is no run folder"),
    ]
    for arguments, words in wrong:
        with pytest.raises(UserError, match=words):
            ganzoo.export(**{"run": run, **arguments})
    assert {file: file.read_bytes() for file in tmp_path.rglob("*.onnx")} == before


def test_the_discriminator_is_that_of_the_last_step(trained: dict[str, Path]) -> None:
    from safetensors.torch import load_file

    from ganzoo import Run, load_registry
    from ganzoo.runs.checkpoint import latest

    run = Run.open(trained["digits"])
    network, metadata = run.load(load_registry(), "discriminator")
    weights = load_file(latest(run.checkpoints) / "networks.safetensors")
    assert metadata["signature"]["output"]["kind"] == "scores"
    assert not network.training
    for name, value in network.state_dict().items():
        torch.testing.assert_close(value, weights[f"discriminator.{name}"])
    with pytest.raises(UserError, match="has no 'encoder'; it has: generator, discriminator"):
        run.load(load_registry(), "encoder")


def test_directions_go_into_the_file(cli: Command, trained: dict[str, Path], tmp_path: Path) -> None:
    entry = {"latent": "z", "vector": [0.5, 0.0, 0.0, 0.5], "range": [-3, 3], "method": "by hand"}
    run, file = trained["digits"], tmp_path / "directions.json"
    for written in ({"bold": entry}, {"directions": {"bold": entry}, "latent_mean": {"z": [1, 2, 3, 4]}}):
        file.write_text(json.dumps(written))
        arguments = ("export", run, "--onnx", "--out", "a.onnx", "--directions", file)
        document = json.loads(cli(*arguments, "--json").out)
        assert document["directions"] == {"bold": entry}
        assert document.get("latent_mean") == written.get("latent_mean")
    wrong = [
        ("[", "is not JSON"),
        ("[]", "holds no directions"),
        (json.dumps({"bold": {**entry, "latent": "w"}}), "of a latent that the network does not have; it has: z"),
        (json.dumps({"bold": {**entry, "vector": [1.0]}}), "'bold' has 1 number and is of another model: 'z' has 4"),
        (json.dumps({"bold": {**entry, "range": [3, -3]}}), "does not run from a lower to a higher number"),
        (json.dumps({"bold": {**entry, "vector": [1.0, 2.0, 3.0, None]}}), "has what is no number"),
        (json.dumps({"bold": 3}), "the direction 'bold' is no object"),
    ]
    for text, words in wrong:
        file.write_text(text)
        cli(*arguments).refused(words)
        cli("export", run, "--onnx", "--all", "--out", "all", "--directions", file).refused(words)
    cli("export", run, "--onnx", "--directions", "nowhere.json").refused("cannot read nowhere.json")


def test_the_options_of_the_command(cli: Command, trained: dict[str, Path]) -> None:
    run = trained["digits"]
    outcome = cli("export", run, "--onnx", "--out", "a.onnx", "--precision", "int8", "--pixels", "NCHW")
    assert outcome.out == "a.onnx\n"
    assert "signal to noise" in outcome.err
    assert "a.int8.png" in outcome.err
    assert Path("a.int8.png").is_file()
    assert cli("sample", "a.onnx", "-n", "9", "--out", "nine.png").code == 0
    cli("export", run, "--onnx", "--precision", "int4").refused("int4")
    cli("export", run, "--onnx", "--pixels", "chwn").refused("chwn")
    points = trained["gaussians"]
    cli("export", points, "--onnx", "--out", "p.onnx", "--pixels", "nchw").refused("pixels are for images")


MODELS = (
    "dcgan wgan_gp_conv sngan r3gan began gan_fc cgan cgan_projection cgan_matching acgan cwgan_gp_conv cwgan_gp_fc"
)


@pytest.mark.slow
@pytest.mark.parametrize("name", MODELS.split())
@pytest.mark.parametrize("precision", ["fp32", "fp16", "int8"])
def test_every_bundled_model(name: str, precision: Any, tmp_path: Path) -> None:
    from ganzoo import load_config, load_registry
    from ganzoo.data.dataset import DataSpec

    torch.manual_seed(0)
    data = DataSpec("made", (Image(1, 28, 28, (0, 255)), Label(10)), 100)
    generator = load_config(load_registry(), name).build_trainer(data).networks["generator"].eval()
    parity = export(generator, tmp_path / "model.onnx", {}, precision=precision)["parity"]
    print(f"\n{name} {precision}: {parity}")
    if precision == "fp32":
        assert parity["max_difference"] <= 1e-5
