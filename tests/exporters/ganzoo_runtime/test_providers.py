"""Which of onnxruntime's providers are asked for, with which options, and by how many threads."""

import contextlib
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import onnxruntime as ort
import pytest
from built import CPU, IMAGE, POINTS, build

from ganzoo_runtime import Generator, ModelError, providers

WHOLE = build(POINTS)
EVERYTHING = list(providers.PROVIDERS.values())

pytestmark = pytest.mark.usefixtures("cache")


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
