"""The checks of ``ganzoo doctor``."""

import os
import platform
from importlib import metadata
from typing import Any

from ganzoo import __version__
from ganzoo.cli.threads import waiting
from ganzoo.plugin.registry import load_registry
from ganzoo_runtime.text import counted

__all__ = ["examine"]

_PACKAGES = ("torch", "torchvision", "numpy", "pydantic", "pluggy", "onnx", "onnxscript")
_RUNTIMES = ("onnxruntime", "onnxruntime-gpu", "onnxruntime-directml", "onnxruntime-openvino")


def examine() -> dict[str, Any]:
    """Return what is installed by name, and problems, each a sentence that says what to do."""
    found: dict[str, str] = {"ganzoo": __version__, "python": f"{platform.python_version()} on {platform.platform()}"}
    problems: list[str] = []
    for package in _PACKAGES:
        version = _version(package)
        found[package] = version or "not installed"
        if version is None:
            problems.append(f"{package} is not installed; run: pip install {package}")
    runtimes = [name for name in _RUNTIMES if _version(name)]
    found["onnxruntime"] = ", ".join(f"{name} {_version(name)}" for name in runtimes) or "not installed"
    if len(runtimes) > 1:
        problems.append(
            f"{' and '.join(runtimes)} share one folder and overwrite each other; run: pip uninstall -y "
            f"{' '.join(runtimes)} && pip install {runtimes[-1]}"
        )
    elif not runtimes:
        problems.append("onnxruntime is not installed; run: pip install onnxruntime (or onnxruntime-gpu)")
    found["cpu"] = counted(os.cpu_count() or 1, "core")
    _examine_devices(found, problems)
    for plugin in load_registry().plugins:
        if plugin.status == "failed":
            problems.append(f"plugin {plugin} failed to load: {plugin.reason}")
    return {"facts": found, "problems": problems}


def _examine_devices(found: dict[str, str], problems: list[str]) -> None:
    try:
        import torch

        names = [torch.cuda.get_device_name(index) for index in range(torch.cuda.device_count())]
        found["torch runs on"] = ", ".join(names) or ("mps" if torch.backends.mps.is_available() else "cpu")
        found["precision=auto"] = _precision()
        found["torch threads"] = ", ".join([str(torch.get_num_threads()), *filter(None, [waiting()])])
    except Exception as error:
        problems.append(f"torch cannot be imported: {error}; run: pip install --force-reinstall torch")
    try:
        import onnxruntime

        providers = [name.removesuffix("ExecutionProvider") for name in onnxruntime.get_available_providers()]
        found["onnxruntime has"] = ", ".join(providers)
    except Exception as error:
        problems.append(f"onnxruntime cannot be imported: {error}; see above which packages are installed")


def _precision() -> str:
    """Return what the setting stands for on this machine, and what decides it."""
    from ganzoo.fields import Image, Points
    from ganzoo.gan.precision import choose_precision
    from ganzoo.training.devices import resolve_device

    device = resolve_device("auto")
    images, others = (choose_precision("auto", device, sample) for sample in (Image(1, 8, 8), Points(2)))
    if device.type != "cpu":
        return f"{images}, as on any {device.type} device"
    if images == others:
        return f"{images}; the processor has neither AMX nor AMD's AVX512_BF16, which multiply bfloat16"
    return f"{images} for images, {others} for other samples; the processor multiplies bfloat16"


def _version(package: str) -> str | None:
    try:
        return metadata.version(package)
    except metadata.PackageNotFoundError:
        return None
