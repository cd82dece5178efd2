"""The model repository for Triton, against the published schema and against what the server itself demands."""

import importlib.util
import json
from pathlib import Path
from types import ModuleType
from typing import Any

import numpy as np
import onnxruntime
import pytest
from conftest import ROOT, Command
from handmade import write_model

from ganzoo import Attributes, Image, Label, Latent, Points, Signature, UserError
from ganzoo_exporters.triton import MAX_BATCH, write_repository
from ganzoo_runtime import Generator

NAMES = {"TYPE_FP32": np.float32, "TYPE_INT64": np.int64, "TYPE_UINT8": np.uint8}
SIGNATURE = Signature(
    (Latent((2, 3), name='odd "name"\\\n'), Label(3, ("ä", "b", "c")), Attributes(2, name="ümlaut")), Image(3, 4, 5)
)


@pytest.fixture(scope="module")
def schema() -> ModuleType:
    """The server's protobuf schema, as its own client publishes it; the client itself needs gRPC."""
    client = importlib.util.find_spec("tritonclient")
    if client is None or client.submodule_search_locations is None:
        pytest.skip("needs tritonclient for the schema: pip install tritonclient")
    path = Path(client.submodule_search_locations[0]) / "grpc" / "model_config_pb2.py"
    spec = importlib.util.spec_from_file_location("model_config_pb2", path)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def parse(schema: ModuleType, folder: Path) -> Any:
    from google.protobuf import text_format

    return text_format.Parse((folder / "config.pbtxt").read_text(encoding="utf-8"), schema.ModelConfig())


@pytest.mark.parametrize(
    "signature",
    [
        SIGNATURE,
        Signature((Latent((7,), "uniform"),), Points(2)),
        Signature((Image(1, 2, 2),), Image(1, 2, 2, (0, 255), layout="NHWC")),
    ],
)
def test_the_configuration_is_of_the_schema_and_of_the_model(
    tmp_path: Path, schema: ModuleType, signature: Signature
) -> None:
    model = write_model(tmp_path / "m.onnx", signature, model={"key": "tint"}, data={"name": "hues/8"})
    folder = write_repository(model, tmp_path / "repository")
    assert folder == tmp_path / "repository" / "tint-hues-8"
    assert sorted(str(path.relative_to(folder)) for path in folder.rglob("*")) == ["1", "1/model.onnx", "config.pbtxt"]
    config = parse(schema, folder)
    assert config.name == folder.name  # or the server refuses it
    assert config.backend == "onnxruntime"
    assert config.max_batch_size == MAX_BATCH
    assert config.HasField("dynamic_batching")
    assert 0 < config.dynamic_batching.max_queue_delay_microseconds < 100_000
    assert config.parameters["cudnn_conv_algo_search"].string_value == "1"
    assert json.loads(config.parameters["ganzoo"].string_value) == Generator(model).metadata
    assert len(config.input) == len(signature.inputs)
    assert len(config.output) == 1
    run(schema, config, folder)


def run(schema: ModuleType, config: Any, folder: Path) -> None:
    """Do as the server does with a batch: shape it as the configuration says, and run the model."""

    def arrays(tensors: Any, batch: int) -> dict[str, np.ndarray]:
        made = {}
        for tensor in tensors:
            assert tensor.dims  # an empty one is refused
            assert all(size > 0 or size == -1 for size in tensor.dims)  # -1: any height and width
            dims = [28 if size == -1 else size for size in tensor.dims]
            shape = tensor.reshape.shape if tensor.HasField("reshape") else dims
            assert np.prod(shape) == np.prod(dims)
            made[tensor.name] = np.zeros((batch, *shape), NAMES[schema.DataType.Name(tensor.data_type)])
        return made

    session = onnxruntime.InferenceSession(folder / "1" / "model.onnx", providers=["CPUExecutionProvider"])
    for batch in (1, MAX_BATCH):
        names = [tensor.name for tensor in config.output]
        results = session.run(names, arrays(config.input, batch))
        for result, expected in zip(results, arrays(config.output, batch).values(), strict=True):
            assert (result.shape, result.dtype) == (expected.shape, expected.dtype)


def test_models_of_the_zoo(tmp_path: Path, schema: ModuleType) -> None:
    for model in (ROOT / "zoo" / "ganzoo_zoo").glob("*mnist5k/generator.onnx"):
        folder = write_repository(model, tmp_path)
        assert folder.name == model.parent.name
        run(schema, parse(schema, folder), folder)


def test_an_export_replaces_its_own_and_nothing_else(tmp_path: Path) -> None:
    model = write_model(tmp_path / "m.onnx", SIGNATURE)
    (tmp_path / "repository" / "other").mkdir(parents=True)
    folder = write_repository(model, tmp_path / "repository")
    assert folder.name == "generator"
    write_model(model, SIGNATURE, license="CC0")
    assert write_repository(model, tmp_path / "repository") == folder
    assert (folder / "1" / "model.onnx").read_bytes() == model.read_bytes()
    assert "CC0" in (folder / "config.pbtxt").read_text()
    (folder / "config.pbtxt").write_text('name: "generator"\n')
    with pytest.raises(UserError, match=r"config\.pbtxt was not written by ganzoo"):
        write_repository(model, tmp_path / "repository")
    assert (folder / "config.pbtxt").read_text() == 'name: "generator"\n'


def test_weights_beside_the_model_come_along(tmp_path: Path, schema: ModuleType) -> None:
    model = write_model(tmp_path / "m.onnx", SIGNATURE, weights_in="m.data")
    folder = write_repository(model, tmp_path / "repository")
    assert (folder / "1" / "m.data").read_bytes() == (tmp_path / "m.data").read_bytes()
    run(schema, parse(schema, folder), folder)


@pytest.mark.parametrize("key", ["../../etc", "..", "a/b\\c", " ", "ä ö"])
def test_a_name_cannot_leave_the_repository(tmp_path: Path, key: str) -> None:
    model = write_model(tmp_path / "m.onnx", SIGNATURE, model={"key": key})
    folder = write_repository(model, tmp_path / "repository")
    assert folder.parent == tmp_path / "repository"
    assert folder.name.isascii()
    assert folder.name.strip(".-")


def test_what_is_no_model_is_refused(tmp_path: Path) -> None:
    (tmp_path / "m.onnx").write_text("no model")
    with pytest.raises(UserError, match="not an ONNX file"):
        write_repository(tmp_path / "m.onnx", tmp_path / "repository")
    assert not (tmp_path / "repository").exists()


def test_the_command_writes_a_repository(cli: Command, trained: dict[str, Path], tmp_path: Path) -> None:
    outcome = cli("export", trained["digits"], "--onnx", "--out", "m.onnx", "--triton", "models")
    assert outcome.code == 0, outcome.err
    assert "model repository: models/wgan_gp_conv-digits" in outcome.err
    model = tmp_path / "models" / "wgan_gp_conv-digits" / "1" / "model.onnx"
    assert model.read_bytes() == (tmp_path / "m.onnx").read_bytes()
