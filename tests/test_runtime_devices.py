"""The runtime's decisions: on which device, how many samples at a time, and where the output stays."""

import contextlib
import json
import threading
import time
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from test_runtime import CPU, IMAGE, POINTS, build

from ganzoo import Image, Latent, Signature
from ganzoo_exporters.runtime import Generator, ModelError, session
from ganzoo_exporters.runtime.batching import _SIZES, Batching
from ganzoo_exporters.runtime.device import Graphs, graph_options
from ganzoo_exporters.runtime.drawing import Drawing

WHOLE = build(POINTS)
EVERYTHING = list(session.PROVIDERS.values())


@pytest.fixture(autouse=True)
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("GANZOO_CACHE", str(tmp_path / "cache"))
    monkeypatch.delenv(session.ENVIRONMENT, raising=False)
    return tmp_path / "cache"


# --- Which provider


class Asked(Exception):
    """onnxruntime was asked for a session; stops the runtime there."""


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[list[tuple[str, dict[str, str]]], ort.SessionOptions]]:
    """A machine where everything works; what onnxruntime is asked for, one entry for each try."""
    tries: list[Any] = []

    def open_it(model: bytes, options: ort.SessionOptions, providers: list[Any], enable_fallback: int) -> None:
        assert enable_fallback == 0
        tries.append((providers, options))
        raise Asked

    there = SimpleNamespace(
        get_available_providers=lambda: EVERYTHING,
        InferenceSession=open_it,
        SessionOptions=ort.SessionOptions,
        ExecutionMode=ort.ExecutionMode,
    )
    monkeypatch.setattr(session, "ort", there)
    monkeypatch.setattr(session, "_cuda_works", lambda: True)
    monkeypatch.setattr(session, "_tensorrt_is_there", lambda: True)
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
    monkeypatch.setattr(session, "_tensorrt_is_there", lambda: False)
    with pytest.raises(ModelError):
        Generator(WHOLE)
    assert names(asked[0][0]) == EVERYTHING[1:]
    monkeypatch.setattr(session, "_cuda_works", lambda: False)
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


def test_tensorrts_engines_are_cached(asked: Any, cache: Path) -> None:
    with pytest.raises(ModelError):
        Generator(WHOLE, providers=["tensorrt"])
    options = asked[0][0][0][1]
    assert options["trt_engine_cache_enable"] == "1"
    assert options["trt_engine_cache_path"] == str(cache / "tensorrt")


def test_directml_knows_no_memory_patterns(asked: Any) -> None:
    with pytest.raises(ModelError):
        Generator(WHOLE, providers=["directml", "cpu"])
    (_, directml), (_, cpu) = asked
    assert (directml.enable_mem_pattern, cpu.enable_mem_pattern) == (False, True)


def test_the_environment_names_providers_where_nothing_else_does(asked: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(session.ENVIRONMENT, "coreml, cpu")
    with pytest.raises(ModelError):
        Generator(WHOLE)
    assert names(asked[0][0]) == ["CoreMLExecutionProvider", "CPUExecutionProvider"]
    with pytest.raises(ModelError):
        Generator(WHOLE, providers=["cpu"])
    assert names(asked[-1][0]) == CPU


def test_providers_and_threads_for_real(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(session, "_cuda_works", lambda: False)
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
    monkeypatch.setattr(session, "cores", lambda: 2)
    options = session._session_options("CPUExecutionProvider", threads)
    with pytest.raises(RuntimeError) if spins else contextlib.nullcontext():  # there is no such entry
        assert options.get_session_config_entry("session.intra_op.allow_spinning") == "0"


# --- How many at a time


def learn(batching: Batching, cost: dict[int, float]) -> list[int]:
    """Serve requests until the size is known; return the sizes that were tried."""
    tried = []
    while batching.best is None:
        tried.append(size := batching.next(10**6, 10**6))
        batching.record(size, cost[size] * size)
        assert len(tried) < 1000
    return tried


def test_the_fastest_size_is_found_once_and_kept(cache: Path) -> None:
    # Not just falling and then rising: 64 is slow, and what is best comes after it.
    cost = {4: 9.0, 8: 5.0, 16: 3.0, 32: 2.5, 64: 3.5, 128: 2.0, 256: 1.99, 512: 3.0}
    batching = Batching("model on device", 4)
    tried = learn(batching, cost)
    assert sorted(tried) == [size for size in _SIZES for _ in range(max(4, 256 // size))]
    assert tried[: len(_SIZES)] == list(_SIZES)
    assert batching.best == 128  # 256 is faster by less than what counts
    assert json.loads((cache / "batches.json").read_text()) == {"model on device": 128}
    assert Batching("model on device", 4).best == 128
    assert Batching("another", 4).best is None
    learn(Batching("another", 4), dict.fromkeys(_SIZES, 1.0))
    assert Batching("model on device", 4).best == 128


@pytest.mark.parametrize("slow", [lambda calls: calls > 40, lambda calls: calls < 100, lambda calls: calls > 120])
def test_a_machine_that_is_slow_for_a_while_is_slow_for_every_size(slow: Callable[[int], bool]) -> None:
    batching = Batching("key", 4)
    calls = 0
    while batching.best is None:
        size, calls = batching.next(10**6, 10**6), calls + 1
        batching.record(size, size * (1 + 0.4 / size) * (1.5 if slow(calls) else 1.0))
    assert batching.best == 64  # larger ones save less than what counts


def test_the_first_run_of_a_size_does_not_count() -> None:
    batching = Batching("key", 4)
    seen = set()
    while batching.best is None:
        size = batching.next(10**6, 10**6)
        batching.record(size, size * (0.5 if size == 8 else 0.9) * (1 if size in seen or size != 8 else 1e4))
        seen.add(size)
    assert batching.best == 8


@settings(deadline=None, max_examples=50)
@given(st.lists(st.floats(1e-6, 10), min_size=len(_SIZES), max_size=len(_SIZES)), st.integers(1, 10**9))
def test_whatever_the_times_a_size_is_found_that_fits(times: list[float], sample_bytes: int) -> None:
    batching = Batching("", sample_bytes)
    batching.best = None
    learn(batching, {1: 1.0, **dict(zip(_SIZES, times, strict=True))})
    assert batching.best == 1 or batching.best * sample_bytes <= 1 << 24


def test_small_requests_are_not_slowed_down_by_learning() -> None:
    batching = Batching("key", 4)
    assert [batching.next(n, n) for n in (1, 40, 64, 511)] == [1, 40, 64, 64]
    assert batching.next(512, 512) == 4
    batching.best = 4
    assert [batching.next(n, n) for n in (1, 16, 17)] == [1, 16, 4]  # pieces cost more than they bring
    assert Batching("key", 1 << 27).next(100, 100) == 1  # a sample alone is large


@pytest.mark.parametrize(
    "content", ["", "[]", "{", '{"key": "x"}', '{"key": -1}', '{"key": 1e9}', '{"key": true}', "\xff"]
)
def test_a_damaged_cache_is_no_cache(cache: Path, content: str) -> None:
    cache.mkdir()
    (cache / "batches.json").write_text(content, encoding="latin-1")
    batching = Batching("key", 4)
    assert batching.best is None
    learn(batching, dict.fromkeys(_SIZES, 1.0))
    assert Batching("key", 4).best == 4


def test_a_cache_that_cannot_be_written_is_done_without(cache: Path) -> None:
    cache.write_text("a file where the folder should be")
    batching = Batching("key", 4)
    learn(batching, dict.fromkeys(_SIZES, 1.0))
    assert batching.best == 4
    assert Batching("key", 4).best is None


def test_a_generator_learns_from_a_large_request(cache: Path) -> None:
    generator = Generator(build(IMAGE), providers=CPU, threads=1)
    first = generator.sample(16_000, seed=5)
    (best,) = json.loads((cache / "batches.json").read_text()).values()
    assert generator._batching.best == best
    assert Generator(build(IMAGE), providers=CPU, threads=1)._batching.best == best
    assert Generator(WHOLE, providers=CPU, threads=1)._batching.best is None
    assert Generator(build(IMAGE), providers=CPU, threads=2)._batching.best is None
    sizes = [len(piece.samples) for piece in generator.stream(16_000, seed=5)]
    assert set(sizes[:-1]) == {best}
    np.testing.assert_allclose(generator.sample(16_000, seed=5, batch=500), first, atol=1e-6)


def test_threads_may_learn_together() -> None:
    generator = Generator(build(IMAGE), providers=CPU, threads=1)
    with ThreadPoolExecutor(4) as pool:
        drawn = list(pool.map(lambda seed: generator.sample(8000, seed=seed), range(4)))
    assert generator._batching.best in _SIZES
    for seed, samples in enumerate(drawn):
        np.testing.assert_allclose(generator.sample(8000, seed=seed, batch=64), samples, atol=1e-6)


def test_sizes_leave_work_for_all_threads_and_memory_is_shared_by_them() -> None:
    assert [Batching("another", 4, abreast=8).next(n, n) for n in (255, 256, 512)] == [64, 32, 4]
    batching = Batching("key", 1 << 15, abreast=4)
    assert max(learn(batching, {size: 1 / size for size in _SIZES})) == 128  # of 4 batches at once
    assert [batching.next(n, n) for n in (20, 200, 600)] == [20, 128, 128]
    batching.best = 512
    assert [batching.next(n, n) for n in (255, 256, 1001, 4000)] == [255, 64, 251, 512]


def test_what_is_learnt_needs_not_come_in_turn() -> None:
    batching = Batching("key", 4)
    for size in reversed(_SIZES):
        for _ in range(max(4, 256 // size)):
            assert batching.best is None
            batching.record(size, 1.0)
            batching.record(7, 1e-9)  # the rest of a request
    assert batching.best == 512


# --- Several pieces at once


@pytest.fixture
def running(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, int]]:
    """For each run that begins: how many run then, and on how many threads it is."""
    runs, begun, lock = [], [0], threading.Lock()
    run = Generator._run

    def counted(self: Generator, feed: Any, on: ort.InferenceSession) -> Any:
        with lock:
            begun[0] += 1
            runs.append((begun[0], on.get_session_options().intra_op_num_threads))
        try:
            time.sleep(0.002)
            return run(self, feed, on)
        finally:
            with lock:
                begun[0] -= 1

    monkeypatch.setattr(Generator, "_run", counted)
    return runs


def test_large_requests_are_computed_a_piece_on_each_thread(running: list[tuple[int, int]]) -> None:
    generator = Generator(build(IMAGE), providers=CPU, threads=3)
    samples = generator.sample(2000, seed=5)
    assert max(running)[0] == 3
    assert {threads for _, threads in running} == {1}
    running.clear()
    np.testing.assert_allclose(generator.sample(2000, seed=5, batch=100), samples, atol=1e-6)
    np.testing.assert_allclose(generator.sample(255, seed=5), samples[:255], atol=1e-6)
    assert set(running) == {(1, 3)}
    pieces = list(generator.stream(2000, seed=5))
    np.testing.assert_allclose(np.concatenate([piece.samples for piece in pieces]), samples, atol=1e-6)
    found = np.concatenate([piece.inputs["z"] for piece in pieces])
    np.testing.assert_array_equal(found, generator.latents(2000, 5))


def test_what_all_threads_compute_together_is_not_learnt_from() -> None:
    generator = Generator(build(IMAGE), providers=CPU, threads=2)
    generator.sample(1000, batch=64)
    generator.sample(200)
    assert not any(generator._batching._times.values())
    generator.sample(600)
    assert any(generator._batching._times.values())


@pytest.mark.parametrize("mine", [True, False])
def test_who_sets_the_session_up_or_has_one_thread_gets_that(running: list[tuple[int, int]], mine: bool) -> None:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 2
    generator = Generator(build(IMAGE), providers=CPU, **({"session_options": options} if mine else {"threads": 1}))
    generator.sample(1000)
    assert set(running) == {(1, 2 if mine else 1)}


def test_a_stream_that_is_given_up_ends_its_threads(running: list[tuple[int, int]]) -> None:
    before = threading.active_count()
    pieces = Generator(build(IMAGE), providers=CPU, threads=3).stream(10**15)
    next(pieces)
    time.sleep(0.1)
    assert len(running) <= 3 + 2  # nothing is computed far ahead
    assert threading.active_count() > before
    pieces.close()
    assert threading.active_count() == before


def test_a_piece_that_fails_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    generator = Generator(build(IMAGE), providers=CPU, threads=2)
    monkeypatch.setattr(Drawing, "take", lambda self, size: {"z": np.zeros((size, 1), np.float32)})
    with pytest.raises(ModelError, match="the model cannot be run: "):
        generator.sample(1000)


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
        (z[:3], r"such latents have the shape \(3, 2\) or \(7, 3, 2\), not \(3, 3, 2\)"),
        ({"w": z}, "this model has no latent 'w'; it has: z"),
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
    torch.cuda.synchronize()
    samples = torch.from_dlpack(generator.on_device(z, y))
    assert samples.is_cuda
    np.testing.assert_allclose(samples.cpu().numpy(), expected, atol=1e-5)
