"""The runtime's decisions: on which device, and where the output stays."""

import contextlib
import json
import weakref
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import onnxruntime as ort
import pytest
import torch
from built import CPU, IMAGE, POINTS, build

from ganzoo import Image, Latent, Signature
from ganzoo_runtime import Generator, ModelError, providers
from ganzoo_runtime.binding import Binding, Bound, Graphs, graph_options

WHOLE = build(POINTS)
EVERYTHING = list(providers.PROVIDERS.values())


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GANZOO_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv(providers.ENVIRONMENT, raising=False)
    return tmp_path / "cache"


# --- Which provider


class Asked(Exception):
    """onnxruntime was asked for a session; stops the runtime there."""


@pytest.fixture
def quieted() -> list[int]:
    """The severities below which onnxruntime's default logger was told to be silent."""
    return []


@pytest.fixture
def asked(
    quieted: list[int], monkeypatch: pytest.MonkeyPatch
) -> list[tuple[list[tuple[str, dict[str, str]]], ort.SessionOptions]]:
    """A machine where everything works; what onnxruntime is asked for, one entry for each try."""
    tries: list[Any] = []

    def open_it(model: bytes, options: ort.SessionOptions, wanted: list[Any], **rest: Any) -> None:
        assert rest == {"enable_fallback": 0, "disabled_optimizers": providers.CRASHING}
        tries.append((wanted, options))
        raise Asked

    there = SimpleNamespace(
        get_available_providers=lambda: EVERYTHING,
        InferenceSession=open_it,
        SessionOptions=ort.SessionOptions,
        ExecutionMode=ort.ExecutionMode,
        set_default_logger_severity=quieted.append,
    )
    monkeypatch.setattr(providers, "ort", there)
    monkeypatch.setattr(providers, "_cuda_works", lambda: True)
    monkeypatch.setattr(providers, "_tensorrt_is_there", lambda: True)
    return tries


def names(wanted: list[tuple[str, dict[str, str]]]) -> list[str]:
    return [name for name, _ in wanted]


def test_the_best_that_is_there_is_tried_first_and_then_the_rest(asked: Any) -> None:
    with pytest.raises(ModelError, match="cannot be opened"):
        Generator(WHOLE)
    assert [names(wanted) for wanted, _ in asked] == [EVERYTHING[skip:] for skip in range(5)]
    assert EVERYTHING[0].startswith("Tensorrt")
    assert EVERYTHING[-1] == "CPUExecutionProvider"


def test_tensorrt_and_cuda_need_their_libraries(asked: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(providers, "_tensorrt_is_there", lambda: False)
    with pytest.raises(ModelError):
        Generator(WHOLE)
    assert names(asked[0][0]) == EVERYTHING[1:]
    monkeypatch.setattr(providers, "_cuda_works", lambda: False)
    with pytest.raises(ModelError):
        Generator(WHOLE)
    assert names(asked[4][0]) == EVERYTHING[2:]


def test_the_defaults_of_a_provider_and_what_is_laid_over_them(asked: Any) -> None:
    with pytest.raises(ModelError):
        Generator(WHOLE, providers=[("cuda", {"use_tf32": "1", "device_id": "1"}), "CPUExecutionProvider"])
    (_, cuda), (_, cpu) = asked[0][0]
    assert cuda == {"cudnn_conv_algo_search": "HEURISTIC", "use_tf32": "1", "device_id": "1"}
    assert cpu == {}
    with pytest.raises(ModelError):
        Generator(WHOLE, providers=["cuda"], cuda_graphs=[1, 16])
    assert asked[-1][0][0][1] == {"cudnn_conv_algo_search": "HEURISTIC", "use_tf32": "0", "enable_cuda_graph": "1"}
    with pytest.raises(ModelError):
        Generator(WHOLE, providers=["coreml"])
    assert asked[-1][0][0][1] == {"ModelFormat": "MLProgram"}


def test_tf32_is_asked_for_by_name(asked: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    def tf32(**settings: Any) -> str:
        with pytest.raises(ModelError):
            Generator(WHOLE, **{"providers": ["cuda"], **settings})
        return asked[-1][0][0][1]["use_tf32"]

    assert (tf32(), tf32(tf32=True)) == ("0", "1")
    assert tf32(tf32=True, providers=[("cuda", {"use_tf32": "0"})]) == "0"
    monkeypatch.setenv(providers.TF32, "1")
    assert (tf32(), tf32(tf32=False), tf32(tf32=True)) == ("1", "0", "1")


def test_cudnn_is_silenced_where_it_is_used(asked: Any, quieted: list[int]) -> None:
    with pytest.raises(ModelError):
        Generator(WHOLE, providers=["coreml", "cpu"])
    assert quieted == []
    with pytest.raises(ModelError):
        Generator(WHOLE, providers=["cuda"])
    assert quieted == [4]


def test_tensorrts_engines_are_cached_by_model_for_all_batches(asked: Any, cache: Path) -> None:
    """The strings as TensorRT's execution provider parses them; the provider itself was not run."""
    folders = []
    for content in (build(IMAGE), WHOLE):
        with pytest.raises(ModelError):
            Generator(content, providers=["tensorrt"])
        folders.append(Path(asked[-1][0][0][1]["trt_engine_cache_path"]))
    options = asked[0][0][0][1]
    assert options == {
        "trt_engine_cache_enable": "1",
        "trt_engine_cache_path": str(folders[0]),
        "trt_timing_cache_enable": "1",
        "trt_timing_cache_path": str(cache / "tensorrt"),
        "trt_profile_min_shapes": "z:1x3x2,y:1",
        "trt_profile_opt_shapes": "z:64x3x2,y:64",
        "trt_profile_max_shapes": "z:256x3x2,y:256",
    }
    assert folders[0] != folders[1]
    assert {folder.parent for folder in folders} == {cache / "tensorrt"}
    field = {"kind": "image", "name": "x", "shape": [1, 8, 8], "multiple": 4}
    assert not [name for name in providers.tensorrt_options([field], "key") if "profile" in name]


def test_tensorrt_is_given_the_batches_that_its_engines_are_for() -> None:
    generator = Generator(build(IMAGE), providers=CPU)
    generator.provider = providers.PROVIDERS["tensorrt"]
    assert [*generator._sizes(150, None)] == [64, 64, 22]
    assert [*generator._sizes(600, 1000)] == [256, 256, 88]


def test_directml_knows_no_memory_patterns(asked: Any) -> None:
    with pytest.raises(ModelError):
        Generator(WHOLE, providers=["directml", "cpu"])
    (_, directml), (_, cpu) = asked
    assert (directml.enable_mem_pattern, cpu.enable_mem_pattern) == (False, True)


def test_the_environment_names_providers_where_nothing_else_does(asked: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(providers.ENVIRONMENT, "coreml, cpu")
    with pytest.raises(ModelError):
        Generator(WHOLE)
    assert names(asked[0][0]) == ["CoreMLExecutionProvider", "CPUExecutionProvider"]
    with pytest.raises(ModelError):
        Generator(WHOLE, providers=["cpu"])
    assert names(asked[-1][0]) == CPU


def test_providers_and_threads_for_real(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(providers, "_cuda_works", lambda: False)
    assert Generator(WHOLE, providers=["cuda", "cpu"]).provider == "CPUExecutionProvider"
    with pytest.raises(ModelError, match="cannot be opened: CUDAExecutionProvider cannot be used here"):
        Generator(WHOLE, providers=["CUDAExecutionProvider"])
    with pytest.raises(ModelError, match="cannot be opened: Wonder cannot be used here"):
        Generator(WHOLE, providers=["Wonder"])
    with pytest.raises(ValueError, match="the number of threads"):
        Generator(WHOLE, threads=0)
    own = ort.SessionOptions()
    own.intra_op_num_threads = 3
    opened = Generator(WHOLE, providers=CPU, session_options=own)
    assert opened._session.get_session_options().intra_op_num_threads == 3
    assert Generator(WHOLE, providers=CPU, threads=2)._session.get_session_options().intra_op_num_threads == 2


@pytest.mark.parametrize(("threads", "spins"), [(0, True), (1, True), (2, True), (3, False)])
def test_threads_spin_unless_they_are_more_than_the_cores(
    threads: int, spins: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(providers, "cores", lambda: 2)
    options = providers._session_options("CPUExecutionProvider", threads)
    with pytest.raises(RuntimeError) if spins else contextlib.nullcontext():  # there is no such entry
        assert options.get_session_config_entry("session.intra_op.allow_spinning") == "0"


# --- Where the output stays


def test_outputs_stay_on_the_device_on_request() -> None:
    generator = Generator(build(IMAGE), providers=CPU)
    z, y = generator.latents(5, seed=1), np.arange(5)
    value = generator.on_device(z, y)
    assert isinstance(value, ort.OrtValue)
    np.testing.assert_array_equal(value.numpy(), generator(z, y))
    np.testing.assert_array_equal(torch.from_dlpack(value).numpy(), generator(z, y))
    np.testing.assert_array_equal(generator(torch.from_numpy(z), torch.arange(5)), generator(z, y))
    np.testing.assert_array_equal(generator(ort.OrtValue.ortvalue_from_numpy(z), y), generator(z, y))
    with pytest.raises(ValueError, match="input 'z' has the shape"):
        generator.on_device(z[:, :2], y)


class Elsewhere:
    """An array whose memory is on a device that is not the CPU, as far as it says itself."""

    def __init__(self, array: np.ndarray) -> None:
        self.array, self.dtype = array, array.dtype

    def __dlpack_device__(self) -> tuple[int, int]:
        return (2, 0)

    def __dlpack__(self, **_: Any) -> Any:
        return self.array.__dlpack__()


def test_inputs_on_a_device_are_read_where_they_are() -> None:
    generator = Generator(build(IMAGE), providers=CPU)
    z, y = generator.latents(5, seed=1), np.arange(5)
    np.testing.assert_array_equal(generator(Elsewhere(z), y), generator(z, y))
    with pytest.raises(ValueError, match=r"input 'z' is float32, not tensor\(double\)"):
        generator(Elsewhere(z.astype(np.float64)), y)
    with pytest.raises(ValueError, match="input 'z' has the shape"):
        generator(Elsewhere(z[0]), y)
    with pytest.raises(ValueError, match=r"one batch size, not \[4, 5\]"):
        generator(Elsewhere(z), y[:4])


def test_an_array_with_strides_is_refused() -> None:
    generator = Generator(build(IMAGE), providers=CPU)
    z = generator.latents(5, seed=1)
    with pytest.raises(ValueError, match="input 'z' cannot be read where it is: make it contiguous first"):
        generator.on_device(Elsewhere(z[:, ::-1]), np.arange(5))


def test_outputs_on_a_device_stay_as_they_are() -> None:
    generator = Generator(build(IMAGE), providers=CPU)
    given = [(generator.latents(n, seed=n), np.arange(n) % 5) for n in (3, 5, 3, 1, 5)]
    expected = [generator(*arrays) for arrays in given]
    held = [generator.on_device(*arrays) for arrays in given]
    assert len({value.data_ptr() for value in held}) == len(held)
    tensors = [torch.from_dlpack(value) for value in held]
    del generator, held
    for tensor, samples in zip(tensors, expected, strict=True):
        np.testing.assert_array_equal(tensor.numpy(), samples)


def test_a_thread_makes_one_binding_and_keeps_no_arrays() -> None:
    generator = Generator(build(IMAGE), providers=CPU)
    z, y = generator.latents(5, seed=1), np.arange(5)
    generator.on_device(z, y)
    first = generator._kept.binding
    gone = weakref.ref(z)
    del z
    assert gone() is None
    with pytest.raises(ModelError, match="cannot be run"):
        generator._run_bound({"z": np.zeros((5, 1), np.float32), "y": y})
    generator.on_device(generator.latents(2), y[:2])
    assert generator._kept.binding is first
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(lambda: generator.on_device(generator.latents(2), y[:2]).shape()).result() == [2, 1, 4, 4]
        assert pool.submit(lambda: generator._kept.binding).result() is not first


class Recorded:
    """A binding that notes what is called, in order."""

    def __init__(self, binding: Any, calls: list[str]) -> None:
        self.binding, self.calls = binding, calls

    def __getattr__(self, name: str) -> Any:
        if callable(value := getattr(self.binding, name)):
            self.calls.append(name)
        return value


def test_a_run_waits_for_whoever_makes_its_inputs() -> None:
    """onnxruntime's stream waits for no other: what a CPU cannot show is the order of the calls."""
    generator = Generator(build(IMAGE), providers=CPU)
    calls: list[str] = []
    session = SimpleNamespace(
        io_binding=lambda: Recorded(generator._session.io_binding(), calls),
        run_with_iobinding=lambda binding, options: (
            calls.append("run"),
            generator._session.run_with_iobinding(binding.binding, options),
        ),
    )
    z, y = ort.OrtValue.ortvalue_from_numpy(generator.latents(5)), np.arange(5)
    Binding(cast(Any, session), generator.output, ("cpu", 0)).run({"z": z, "y": y})
    assert calls.index("bind_ortvalue_input") < calls.index("synchronize_inputs") < calls.index("run")
    bound = Bound(cast(Any, session), {"z": z, "y": y}, (generator.output, [1, 4, 4], np.dtype(np.float32)), ("cpu", 0))
    calls.clear()
    value = bound.run({"z": z, "y": y})
    assert calls == ["synchronize_inputs", "synchronize_inputs", "run"]
    np.testing.assert_allclose(value.numpy(), generator(z, y), atol=1e-6)
    calls.clear()
    bound.run({"z": z.numpy(), "y": y})
    assert calls == ["run"]


def test_graphs_read_and_write_at_fixed_addresses() -> None:
    """The bookkeeping of CUDA graphs, with buffers of the CPU, where onnxruntime takes no notice of the numbers."""
    generator = Generator(build(IMAGE), providers=CPU)
    graphs = Graphs(generator._session, (generator.output, [1, 4, 4], np.dtype(np.float32)), ("cpu", 0), [2, 5])
    y = np.arange(5)
    places, given = set(), [generator.latents(5, seed) for seed in range(3)]
    for z in given:
        value = graphs.run({"z": z, "y": y})
        places.add(value.data_ptr())
        np.testing.assert_allclose(value.numpy(), generator(z, y), atol=1e-6)
    assert len(places) == 1
    for seed, z in enumerate(given):  # the buffers are not the caller's
        np.testing.assert_array_equal(z, generator.latents(5, seed))
    z = generator.latents(2)
    np.testing.assert_allclose(graphs.run({"z": z, "y": y[:2]}).numpy(), generator(z, y[:2]), atol=1e-6)
    numbers = [bound._options.get_run_config_entry("gpu_graph_id") for bound in graphs._bound.values()]
    assert numbers == ["1", "2"]
    assert graph_options(-1).get_run_config_entry("gpu_graph_id") == "-1"


def test_cuda_graphs_are_not_captured_on_other_devices() -> None:
    generator = Generator(build(IMAGE), providers=CPU, cuda_graphs=[4])
    assert generator._graphs is None
    assert generator.sample(9).shape == (9, 1, 4, 4)


@pytest.mark.parametrize("shape", [(1, 8, 8), (1, 4, 12)])
def test_images_of_other_sizes_where_the_signature_says_so(shape: tuple[int, int, int]) -> None:
    """A translator for any multiple of 4: the graph has symbolic heights and widths."""
    from onnx import TensorProto, helper

    field = {"kind": "image", "name": "x", "dtype": "float32", "shape": [1, 8, 8], "range": [-1, 1], "multiple": 4}
    document = {"schema": 1, "signature": {"inputs": [field], "output": field | {"name": "sample"}}}
    ends = [
        helper.make_tensor_value_info(name, TensorProto.FLOAT, ["batch", 1, "height", "width"])
        for name in ("x", "sample")
    ]
    graph = helper.make_graph([helper.make_node("Neg", ["x"], ["sample"])], "test", ends[:1], ends[1:])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    helper.set_model_props(model, {"ganzoo": json.dumps(document)})
    generator = Generator(model.SerializeToString(), providers=CPU)
    images = np.ones((2, *shape), np.float32)
    np.testing.assert_array_equal(generator(images), -images)
    with pytest.raises(ValueError, match="input 'x' has the shape"):
        generator(np.ones((2, 1, 8, 6)))
    with pytest.raises(ValueError, match="input 'x' has the shape"):
        generator(np.ones((2, 3, 8, 8)))


# --- Latents that are given, and their mean


def test_latents_in_place_of_drawn_ones() -> None:
    generator = Generator(build(IMAGE), providers=CPU)
    z = generator.latents(7, seed=9)
    drawn = generator.sample(7, seed=9)
    np.testing.assert_allclose(generator.sample(7, latents=z), drawn, atol=1e-6)
    np.testing.assert_allclose(generator.sample(7, latents={"z": z}, batch=3), drawn, atol=1e-6)
    same = generator.sample(5, latents=z[0])
    np.testing.assert_allclose(same, generator(np.repeat(z[:1], 5, axis=0), np.arange(5)), atol=1e-6)
    np.testing.assert_allclose(generator.sample(7, latents=z, truncation=0.5), drawn, atol=1e-6)
    for latents, words in (
        (z[:3], r"the latents of 7 samples of this model have the shape \[3, 2\] or \[7, 3, 2\], not \[3, 3, 2\]"),
        ({"w": z}, "this model has no latent 'w'; there is: z"),
        (z * np.nan, "latents are finite numbers"),
    ):
        with pytest.raises(ValueError, match=words):
            generator.sample(7, latents=latents)


def test_other_latents_are_still_drawn() -> None:
    generator = Generator(build(Signature((Latent((4,)), Latent((2,), name="noise")), Image(1, 2, 2))), providers=CPU)
    z, noise = generator.latents(6, 3), generator.latents(6, 3, "noise")
    np.testing.assert_allclose(generator.sample(6, seed=3, latents={"noise": noise}), generator(z, noise), atol=1e-6)
    np.testing.assert_allclose(generator.sample(6, seed=3, latents=z + 1), generator(z + 1, noise), atol=1e-6)


def test_truncation_moves_latents_towards_their_mean() -> None:
    mean = np.arange(6, dtype=np.float32)
    document = {"schema": 1, "signature": IMAGE.to_json(), "latent_mean": {"z": mean.tolist()}}
    generator = Generator(build(IMAGE, document), providers=CPU)
    plain = Generator(build(IMAGE), providers=CPU)
    z, middle = plain.latents(4), mean.reshape(3, 2)
    np.testing.assert_allclose(generator.latents(4, truncation=0.25), middle + 0.25 * (z - middle), atol=1e-6)
    np.testing.assert_array_equal(generator.latents(4), z)
    expected = plain.sample(4, latents=middle + 0.25 * (z - middle))
    np.testing.assert_allclose(generator.sample(4, truncation=0.25), expected, atol=1e-6)
    np.testing.assert_allclose(generator.sample(4, truncation=0.0), plain.sample(4, latents=middle), atol=1e-6)


def test_latents_of_another_generator_are_not_made_up() -> None:
    document = {"schema": 1, "signature": IMAGE.to_json(), "latent_generator": "numpy.random.Philox"}
    known = Generator(build(IMAGE, document), providers=CPU)
    np.testing.assert_array_equal(known.latents(3), Generator(build(IMAGE), providers=CPU).latents(3))
    other = Generator(build(IMAGE, document | {"latent_generator": "numpy.random.SFC64"}), providers=CPU)
    for draw in (other.latents, other.sample, other.stream):
        with pytest.raises(ValueError, match=r"come from numpy\.random\.SFC64, which this runtime does not know"):
            draw(3)
    assert other(known.latents(3), [0, 1, 2]).shape == (3, 1, 4, 4)


# --- On a GPU


@pytest.fixture(scope="module")
def expected() -> Iterator[np.ndarray]:
    return Generator(build(IMAGE), providers=CPU).sample(100, seed=3)


@pytest.mark.gpu
def test_cuda_gives_what_the_cpu_gives(expected: np.ndarray) -> None:
    generator = Generator(build(IMAGE), providers=["cuda"])
    assert generator.provider == "CUDAExecutionProvider"
    np.testing.assert_allclose(generator.sample(100, seed=3), expected, atol=1e-5)


@pytest.mark.gpu
def test_cuda_graphs_give_what_the_cpu_gives(expected: np.ndarray) -> None:
    generator = Generator(build(IMAGE), providers=["cuda"], cuda_graphs=[32])
    for _ in range(3):  # 32, 32, 32 and 4, which is not captured
        np.testing.assert_allclose(generator.sample(100, seed=3), expected, atol=1e-5)


@pytest.mark.gpu
def test_the_gpus_memory_is_shared_with_torch(expected: np.ndarray) -> None:
    generator = Generator(build(IMAGE), providers=["cuda"])
    z = torch.from_numpy(generator.latents(100, 3)).cuda()
    y = (torch.arange(100) % 5).cuda()
    samples = torch.from_dlpack(generator.on_device(z, y))
    assert samples.is_cuda
    np.testing.assert_allclose(samples.cpu().numpy(), expected, atol=1e-5)


@pytest.mark.gpu
@pytest.mark.parametrize("graphs", [[], [100]])
def test_inputs_that_are_still_computed_on_another_stream(expected: np.ndarray, graphs: list[int]) -> None:
    generator = Generator(build(IMAGE), providers=["cuda"], cuda_graphs=graphs)
    given, y = torch.from_numpy(generator.latents(100, 3)).cuda(), (torch.arange(100) % 5).cuda()
    busy = torch.randn(4096, 4096, device="cuda")
    torch.cuda.synchronize()
    for _ in range(5):
        with torch.cuda.stream(torch.cuda.Stream()):
            z = torch.full_like(given, 1e3)
            for _ in range(20):  # milliseconds
                busy = (busy @ busy).clamp(-1, 1)
            z.copy_(given)
            samples = torch.from_dlpack(generator.on_device(z, y))
            np.testing.assert_allclose(samples.cpu().numpy(), expected, atol=1e-5)
