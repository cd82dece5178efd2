"""Opening an onnxruntime session on the best available device."""

from __future__ import annotations

import contextlib
import ctypes
import functools
import importlib
import io
import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import onnxruntime as ort

from .cache import cache_folder
from .errors import ModelError
from .random_inputs import Fields, whole

__all__ = ["DEVICES", "PROFILE", "PROVIDERS", "TF32", "Provider", "cores", "open_session", "tensorrt_options"]

_TENSORRT, _CUDA, _DIRECTML, _COREML, _CPU = (
    f"{name}ExecutionProvider" for name in ("Tensorrt", "CUDA", "Dml", "CoreML", "CPU")
)
PROVIDERS = {"tensorrt": _TENSORRT, "cuda": _CUDA, "directml": _DIRECTML, "coreml": _COREML, "cpu": _CPU}
"""Short names of the execution providers that are tried, best first."""

DEVICES = {_TENSORRT: "cuda", _CUDA: "cuda", _DIRECTML: "dml"}
"""What onnxruntime calls the memory in which a provider leaves its outputs; all others: ``"cpu"``."""

ENVIRONMENT = "GANZOO_PROVIDERS"
"""The environment variable that names providers, with commas between them, where none are named otherwise."""

TF32 = "GANZOO_TF32"
"""The environment variable that is 1 if CUDA may multiply in TF32, where nothing else says so."""

PROFILE = 256
"""The most samples that TensorRT computes at a time; of its engines, those for a quarter of it are the fastest."""

CRASHING = ("FuseFp16InitializerToFp32NodeTransformer",)
"""Optimizers of onnxruntime that are switched off: of some graphs in float16, such as a matrix product of what was
squeezed and transposed, this one ends the process (onnxruntime 1.31). Versions without it take no notice."""

Provider = str | tuple[str, Mapping[str, str]]


def open_session(
    model: Callable[[str], bytes],
    name: str,
    folder: Path | None,
    providers: Sequence[Provider] | None,
    threads: int | None,
    options: ort.SessionOptions | None = None,
    *,
    defaults: Mapping[str, Mapping[str, str]],
) -> ort.InferenceSession:
    """Return a session on the first of the providers that works; see :class:`Generator` for the arguments.

    ``model`` returns what a provider is given, by its full name. ``folder`` is where weights may lie that the model
    keeps in other files. ``defaults`` are options of this model's, by the full name of the provider.
    """
    threads = 0 if threads is None else whole(threads, 1, "the number of threads")
    asked = providers or _asked_by_environment()
    wanted = [each for each in _resolve(asked, defaults) if _usable(each[0])]
    names = [each for each, _ in wanted]
    reason = f"{' and '.join(_full_name(each)[0] for each in asked or names)} cannot be used here"
    # A provider may be listed and still fail: no driver, an operator it lacks, too little memory. onnxruntime's own
    # fallback is off, since it prints to stderr and changes to the CPU without an error; so the next one is tried here.
    for skip in range(len(wanted)):
        try:
            settings = options if options is not None else _session_options(names[skip], threads)
            if folder is not None:
                with contextlib.suppress(TypeError):  # its name is no text: weights beside the model are not found
                    place = "session.model_external_initializers_file_folder_path"
                    settings.add_session_config_entry(place, str(folder))
            if names[skip] in (_CUDA, _TENSORRT):
                # Where cuDNN has no plan for a convolution, onnxruntime takes another and says so by its default
                # logger, on stderr, which is no concern of whoever draws samples. There is no other switch than this.
                ort.set_default_logger_severity(4)
            session = ort.InferenceSession(
                model(names[skip]), settings, wanted[skip:], enable_fallback=0, disabled_optimizers=CRASHING
            )
            if session.get_providers()[0] in names:
                return session
        except Exception as error:
            reason = " ".join(str(error).split())[:300]
    raise ModelError(f"{name} cannot be opened: {reason}")


def _asked_by_environment() -> list[Provider] | None:
    return [each.strip() for each in os.environ.get(ENVIRONMENT, "").split(",") if each.strip()] or None


def _full_name(provider: Provider) -> tuple[str, Mapping[str, str]]:
    name, options = (provider, {}) if isinstance(provider, str) else provider
    return PROVIDERS.get(name.lower(), name), options


def _resolve(
    asked: Sequence[Provider] | None, defaults: Mapping[str, Mapping[str, str]]
) -> list[tuple[str, dict[str, str]]]:
    """Return the providers by their full names, each with our defaults and over them the options that are asked for."""
    named = [_full_name(provider) for provider in asked or list(PROVIDERS)]
    return [(name, {**_DEFAULTS.get(name, {}), **defaults.get(name, {}), **options}) for name, options in named]


_DEFAULTS = {
    # By default cuDNN tries out every algorithm again for each new shape, and TF32 is on.
    _CUDA: {"cudnn_conv_algo_search": "HEURISTIC", "use_tf32": "0"},
    _COREML: {"ModelFormat": "MLProgram"},  # the older format computes in half precision
}


def tensorrt_options(fields: Fields, key: str) -> dict[str, str]:
    """Return TensorRT's options for a model with these inputs, whose content has this hash.

    Building an engine takes from seconds to minutes. So engines are cached, and built for every batch up to
    :data:`PROFILE` samples at once. The folder is the model's own, since engines are called by the form of the graph
    alone: of two models that differ in their weights, one would be given the other's.
    """
    folder = cache_folder() / "tensorrt"
    options = {
        "trt_engine_cache_enable": "1",
        "trt_engine_cache_path": str(folder / key),
        "trt_timing_cache_enable": "1",
        "trt_timing_cache_path": str(folder),
    }
    if not any(field.get("multiple") for field in fields):  # images of any size have no largest one
        for bound, batch in (("min", 1), ("opt", PROFILE // 4), ("max", PROFILE)):
            shapes = (f"{field['name']}:{'x'.join(map(str, [batch, *field['shape']]))}" for field in fields)
            options[f"trt_profile_{bound}_shapes"] = ",".join(shapes)
    return options


def _session_options(provider: str, threads: int) -> ort.SessionOptions:
    options = ort.SessionOptions()
    options.log_severity_level = 4  # errors are reported as exceptions; onnxruntime would also print them
    options.intra_op_num_threads = threads
    if threads > cores():  # waiting threads that spin would take the cores from those that work
        options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    if provider == _DIRECTML:  # it knows neither
        options.enable_mem_pattern = False
        options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    return options


def cores() -> int:
    """Return the number of cores that this process may use."""
    affinity = getattr(os, "sched_getaffinity", None)  # not on macOS and Windows
    return len(affinity(0)) if affinity else os.cpu_count() or 1


def _usable(provider: str) -> bool:
    if provider not in ort.get_available_providers():
        return False
    if provider == _TENSORRT:
        return _cuda_works() and _tensorrt_is_there()
    return provider != _CUDA or _cuda_works()


@functools.cache
def _cuda_works() -> bool:
    """Return whether the driver finds a CUDA device: onnxruntime lists CUDA always, and prints errors when it fails.

    This also loads the CUDA libraries that torch or pip's nvidia packages have installed.
    """
    try:
        devices = ctypes.c_int()
        driver = ctypes.CDLL("nvcuda.dll" if os.name == "nt" else "libcuda.so.1")
        if driver.cuInit(0) or driver.cuDeviceGetCount(ctypes.byref(devices)) or not devices.value:
            return False
        with contextlib.redirect_stdout(io.StringIO()):
            ort.preload_dlls()
    except Exception:
        return False
    return True


@functools.cache
def _tensorrt_is_there() -> bool:
    """Load TensorRT's libraries: from its Python package, whose import does so, or from the system."""
    with contextlib.suppress(Exception):
        importlib.import_module("tensorrt")
        return True
    with contextlib.suppress(OSError):
        ctypes.CDLL("nvinfer_10.dll" if os.name == "nt" else "libnvinfer.so.10")
        return True
    return False
