"""The arithmetic of a training: float32, TF32, or bfloat16 inside of networks with float32 around them.

``fp32``
    Everything in float32. On CUDA that includes convolutions, which torch computes in TF32 by itself.
``tf32``
    Products of matrices and convolutions read their inputs with 10 bits behind the point, where the GPU has TF32, and
    add them up in float32. On a CPU, and on GPUs without TF32, the same as ``fp32``.
``bf16``
    Mixed precision. A phase computes its loss under autocast (:class:`~ganzoo.Loop`), and the output of a network is
    converted to float32, so that samples have the type of the data, and scores the type that losses expect.

Penalties, and whatever else stands in :func:`full_precision`, run in float32 whatever the setting, including their
passes through the networks: second derivatives, and norms that are compared with a constant, need more than 8 or 10
bits. The gradients of the weights come last, from all of the loss at once: under ``tf32`` in TF32, penalties included.
"""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext
from typing import Any, Literal

import torch
from torch import Tensor

from ganzoo.fields import Field, Image

__all__ = ["choose_precision", "full_precision", "mixed_precision", "multiplies_bfloat16", "products", "widened"]

_NARROW = (torch.bfloat16, torch.float16)


def choose_precision(setting: str, device: torch.device, sample: Field) -> str:
    """Return the precision that a setting stands for; ``"auto"`` depends on the device and on what is drawn.

    Images on a processor that multiplies bfloat16 faster: ``bf16``. Anything on CUDA: ``tf32``. Otherwise ``fp32``.
    """
    if setting != "auto":
        return setting
    if device.type == "cuda":
        # On an H100 the fastest for five of eight models; bfloat16 gains where networks are wide. dcgan was as good in
        # all three.
        return "tf32"
    # Networks of points are so small that converting costs more than is saved: 0.74 of float32's speed, equal quality.
    return "bf16" if device.type == "cpu" and isinstance(sample, Image) and multiplies_bfloat16() else "fp32"


def multiplies_bfloat16() -> bool:
    """Return whether torch multiplies bfloat16 faster than float32 on this processor, as far as that was measured.

    By AMX, the matrix unit of Intel's servers since Sapphire Rapids, and by AVX512_BF16 on AMD's since Zen 4. On an
    Intel processor AVX512_BF16 alone was as fast as float32; without either torch converts, which is slower. ARM's
    instructions have not been measured.
    """
    has = torch.cpu.get_capabilities()
    vectors = has.get("avx512_bf16") and has.get("cpu_name", "").startswith("AMD")
    return bool(torch.backends.mkldnn.is_available() and (has.get("amx_bf16") or vectors))


@contextmanager
def _products(format: Literal["ieee", "tf32"]) -> Iterator[None]:
    """Compute products of float32 on CUDA in this format, and put back what was set before."""
    matmul: Any = torch.backends.cuda.matmul
    cudnn: Any = torch.backends.cudnn  # annotated without some of its attributes
    before = matmul.fp32_precision, cudnn.conv.fp32_precision, cudnn.rnn.fp32_precision

    def assign(formats: tuple[str, str, str]) -> None:
        # The older flag first, which sets the newer ones too: where it contradicts them, torch.backends.cudnn.flags(),
        # which second derivatives of recurrent layers need, raises an error.
        matmul.allow_tf32, cudnn.allow_tf32 = formats[0] == "tf32", formats[1] == "tf32"
        matmul.fp32_precision, cudnn.conv.fp32_precision, cudnn.rnn.fp32_precision = formats

    assign((format,) * 3)
    try:
        yield
    finally:
        assign(before)


def products(precision: str, device: torch.device) -> AbstractContextManager[None]:
    """Return the context for a whole step of a phase, its backward pass included: how CUDA multiplies float32."""
    return _products("tf32" if precision == "tf32" else "ieee") if device.type == "cuda" else nullcontext()


@contextmanager
def _full_precision(device: torch.device) -> Iterator[None]:
    with torch.autocast(device.type, enabled=False), products("fp32", device):
        yield


def full_precision(device: torch.device) -> AbstractContextManager[object]:
    """Return a context in which nothing on the device is computed in less than float32."""
    # Only where autocast is on: a disabled autocast region would still be recorded in a traced or exported graph.
    if torch.is_autocast_enabled(device.type):
        return _full_precision(device)
    return products("fp32", device)


def mixed_precision(precision: str, device: torch.device) -> AbstractContextManager[object]:
    """Return the context that the loss of a phase is computed in."""
    return torch.autocast(device.type, dtype=torch.bfloat16) if precision == "bf16" else nullcontext()


def widened(x: Tensor) -> Tensor:
    """Return a tensor that autocast has narrowed as float32, and anything else unchanged."""
    if isinstance(x, Tensor) and x.dtype in _NARROW and torch.is_autocast_enabled(x.device.type):
        return x.float()
    return x
