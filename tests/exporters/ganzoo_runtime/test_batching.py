"""How many samples the runtime computes at a time, and how many times at once."""

import json
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
import pytest
from built import CPU, IMAGE, POINTS, build
from hypothesis import given, settings
from hypothesis import strategies as st

from ganzoo_runtime import Generator, ModelError
from ganzoo_runtime.batching import _SIZES, _SIZES_ON_DEVICES, Batching
from ganzoo_runtime.errors import OutOfMemory
from ganzoo_runtime.random_inputs import Drawing

WHOLE = build(POINTS)


pytestmark = pytest.mark.usefixtures("cache")


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


def test_other_devices_take_larger_batches() -> None:
    batching = Batching("key", 4, abreast=2, on_device=True)
    assert [batching.next(n, n) for n in (10, 300)] == [10, 150]
    cost = {size: 1 / size for size in _SIZES_ON_DEVICES}
    assert {*learn(batching, cost)} == {*_SIZES_ON_DEVICES}
    assert batching.best == 4096
    assert Batching("key", 4, abreast=2, on_device=True).best == 4096
    assert max(learn(Batching("another", 1 << 18, abreast=2, on_device=True), cost)) == 512  # of 2 batches at once


def test_a_size_that_memory_does_not_suffice_for_is_not_tried_again() -> None:
    batching = Batching("key", 4, on_device=True)
    cost = {size: 1 / size for size in _SIZES_ON_DEVICES}
    while (size := batching.next(10**6, 10**6)) < 512:
        batching.record(size, 1.0)
    batching.exclude(512)
    batching.record(512, 1e-9)  # of another thread, where it sufficed once more
    assert max(learn(batching, cost)) == 256
    assert batching.best == 256
    batching.exclude(256)  # something else has taken memory since
    assert batching.best is None
    learn(batching, cost)
    assert batching.best == 128
    for size in (128, 64, 32, 16):
        batching.exclude(size)
    assert [batching.next(n, n) for n in (5, 1000)] == [5, 8]


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


# --- Another device than the CPU, which a CPU stands in for


@pytest.fixture
def device() -> Generator:
    """A generator that takes its CPU for a GPU of its own."""
    generator = Generator(build(IMAGE), providers=CPU, threads=1)
    generator._on_device, generator._abreast = True, 2
    generator._batching = Batching("device", generator._bytes, 2, on_device=True)
    return generator


def test_a_device_computes_while_the_next_piece_is_drawn_and_the_last_one_is_used(
    device: Generator, running: list[tuple[int, int]], monkeypatch: pytest.MonkeyPatch
) -> None:
    taken, take = [], Drawing.take

    def drawn(self: Drawing, size: int) -> Any:
        taken.append(threading.current_thread())
        return take(self, size)

    monkeypatch.setattr(Drawing, "take", drawn)
    pieces = device.stream(2000, seed=5, batch=100)
    first = next(pieces)
    time.sleep(0.1)
    assert 3 <= len(running) <= len(taken) <= 4  # some ahead of the caller, and no more: memory is constant
    assert {*taken}.isdisjoint({threading.main_thread()})
    assert len({*taken}) == 1
    samples = np.concatenate([first.samples, *(piece.samples for piece in pieces)])
    assert max(running)[0] == 2
    expected = Generator(build(IMAGE), providers=CPU, threads=1).sample(2000, seed=5)
    np.testing.assert_allclose(samples, expected, atol=1e-6)
    np.testing.assert_allclose(device.sample(2000, seed=5), expected, atol=1e-6)


def test_a_device_learns_from_large_requests(device: Generator) -> None:
    device.sample(200)
    assert not any(device._batching._times.values())
    device.sample(100_000)
    assert device._batching.best in _SIZES_ON_DEVICES


@pytest.mark.parametrize("part", ["take", "_run"])
@pytest.mark.parametrize("error", [KeyboardInterrupt, MemoryError, ValueError])
def test_whatever_is_raised_ends_the_request_and_its_threads(
    part: str, error: type[BaseException], device: Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    owner, calls = (Drawing if part == "take" else Generator), [0]
    real = getattr(owner, part)

    def failing(*arguments: Any) -> Any:
        calls[0] += 1
        if calls[0] == 5:
            raise error("stop")
        return real(*arguments)

    monkeypatch.setattr(owner, part, failing)
    before = threading.active_count()
    with pytest.raises(error, match="stop"):
        device.sample(5000, batch=100)
    assert threading.active_count() == before
    assert calls[0] < 15


def test_an_interrupted_caller_waits_for_what_is_computed(device: Generator, running: list[tuple[int, int]]) -> None:
    before = threading.active_count()
    pieces = device.stream(10**9, batch=100)
    next(pieces)
    with pytest.raises(KeyboardInterrupt):
        pieces.throw(KeyboardInterrupt)
    assert threading.active_count() == before
    assert len(running) <= 5


def test_a_batch_that_memory_does_not_suffice_for_is_computed_in_halves(
    device: Generator, monkeypatch: pytest.MonkeyPatch
) -> None:
    expected, run, sizes = device.sample(3000, seed=2), Generator._run, []

    def limited(self: Generator, feed: Any, session: Any) -> Any:
        sizes.append(len(feed["z"]))
        if len(feed["z"]) > 100:
            raise OutOfMemory("the model cannot be run: out of memory")
        return run(self, feed, session)

    monkeypatch.setattr(Generator, "_run", limited)
    np.testing.assert_allclose(device.sample(3000, seed=2), expected, atol=1e-6)
    np.testing.assert_allclose(device.sample(3000, seed=2, batch=1000), expected, atol=1e-6)
    sizes.clear()
    device.sample(3000)
    assert max(sizes) <= 64
    monkeypatch.setattr(Generator, "_run", lambda self, feed, session: limited(self, {"z": np.zeros(101)}, session))
    with pytest.raises(ModelError, match="out of memory"):
        device.sample(3000)


@pytest.mark.parametrize(
    ("sentence", "kind"),
    [
        (
            "bfc_arena.cc:376 AllocateRawInternal Failed to allocate memory for a buffer of size 8589934592",
            True,
        ),
        ("CUDA failure 2: out of memory ; GPU=0", True),
        ("CUBLAS failure 3: CUBLAS_STATUS_ALLOC_FAILED ; GPU=0", True),
        ("std::bad_alloc", True),
        ("Got invalid dimensions for input: z", False),
    ],
)
def test_what_is_said_where_memory_does_not_suffice(device: Generator, sentence: str, kind: bool) -> None:
    long = RuntimeError(f"[ONNXRuntimeError] : 6 : {'/very/long/path' * 30} {sentence}")
    assert isinstance(device._failed(long), OutOfMemory) == kind
