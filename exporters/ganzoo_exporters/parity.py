"""Comparison of an exported file with the network in torch, on inputs as the signature describes them."""

from __future__ import annotations

import copy
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

import ganzoo_runtime as runtime
from ganzoo import Field, GanzooError, Image, Mask, Network, Scores, Signature, StyleGenerator, Styles
from ganzoo_runtime.images import pixels as to_pixels

__all__ = [
    "BATCHES",
    "Mapped",
    "Reference",
    "apply",
    "batches",
    "enlarged",
    "feeds",
    "held_out",
    "largest_difference",
    "pixels_agree",
    "psnr",
]


BATCHES = (1, 3, 64)
"""The batch sizes at which a file is compared with torch; the last one is smaller for large samples."""
_MOST = 64 * 3 * 128 * 128  # numbers of all samples of a batch; what is computed inside has some hundred times as many


class Reference:
    """A network in torch, in float32 on the CPU, with inputs and what it returns for them: what files are held to.

    The inputs are batches of the sizes :func:`batches`. Raises :class:`~ganzoo.GanzooError` if the network does not
    return what its signature promises.
    """

    def __init__(self, network: Network) -> None:
        self.network = copy.deepcopy(network).cpu().float().eval()
        self.sizes = batches(network.signature)
        self.inputs = [network.signature.examples(batch) for batch in self.sizes]
        self.expected = [apply(self.network, arrays) for arrays in self.inputs]
        # Images of any size are also compared at another size that is not square: tracing may have fixed a size or
        # swapped height and width, which the example's own size would not show.
        if (larger := enlarged(network.signature)) is not None:
            self.inputs.append(larger.examples(BATCHES[1]))
            self.expected.append(apply(self.network, self.inputs[-1], larger))

    def difference(self, exported: Callable[..., NDArray[Any]]) -> tuple[float, int]:
        """Return the largest difference of what was exported, relative to the output's range, and its batch size."""
        return largest_difference(exported, self.inputs, self.expected, self.network.signature)

    def parity(self, difference: float, batch: int, tolerance: float, *, widen: bool = False) -> dict[str, Any]:
        """Return what the metadata say of a difference; raises :class:`~ganzoo.GanzooError` above the tolerance.

        With ``widen`` the tolerance is that of networks that amplify rounding, in torch as much as elsewhere.
        """
        if difference > tolerance and widen:
            tolerance = min(max(tolerance, 4 * own_rounding(self.network, self.inputs, self.expected)), 10 * tolerance)
        if difference > tolerance:
            raise GanzooError(
                f"the exported network differs from torch by {difference:.2e} of its value range at batch size "
                f"{batch}, more than the tolerance of {tolerance:.0e}; nothing was written"
            )
        reference = f"torch {torch.__version__.partition('+')[0]}"
        limit = {"tolerance": tolerance} if math.isfinite(tolerance) else {}
        return {"batches": list(self.sizes), "max_difference": difference, "reference": reference, **limit}


class Mapped(Network):
    """A style-based generator as far as the styles that it draws samples from."""

    def __init__(self, generator: StyleGenerator) -> None:
        (styles,) = (field for field in generator.signature.inputs if isinstance(field, Styles))
        super().__init__(Signature(generator.signature.inputs, styles))
        self.generator = generator

    def forward(self, *inputs: Tensor) -> Tensor:
        """Return the styles, [N, L, D]."""
        return self.generator.styles(*inputs)


def batches(signature: Signature) -> list[int]:
    """Return the batch sizes at which a network is compared, of which the last one fits in memory.

    64 images of 1024x1024 would take 9 GB in a single layer.
    """
    numbers = max(math.prod(field.shape) for field in (*signature.inputs, signature.output))
    largest = max(BATCHES[1], _MOST // numbers)
    return sorted({min(size, largest) for size in BATCHES})


def feeds(signature: Signature, seeds: Sequence[int]) -> Iterator[dict[str, NDArray[Any]]]:
    """Yield a batch of the largest size for each seed, by the inputs' names."""
    names = [field.name for field in signature.inputs]
    for seed in seeds:
        yield dict(zip(names, signature.examples(batches(signature)[-1], seed), strict=True))


def enlarged(signature: Signature) -> Signature | None:
    """Return the signature for a batch of larger images that are not square, if the network takes them of any size."""
    multiple = max((field.multiple or 0 for field in signature.inputs if isinstance(field, Image)), default=0)
    if not multiple:
        return None

    def grown(field: Field) -> Field:
        if isinstance(field, Image | Mask):
            return replace(field, height=field.height + multiple, width=field.width + 2 * multiple)
        return field

    return Signature(tuple(grown(field) for field in signature.inputs), grown(signature.output))


def apply(network: Network, arrays: Sequence[NDArray[Any]], signature: Signature | None = None) -> NDArray[np.float32]:
    """Return what the network returns in torch; raises :class:`~ganzoo.GanzooError` if that is not what it promises."""
    output, wanted = network(*map(torch.from_numpy, arrays)), (signature or network.signature).output
    if not isinstance(output, Tensor):
        raise GanzooError(f"the network cannot be exported: it returns a {type(output).__name__}, not one tensor")
    shape = (len(arrays[0]), *(output.shape[1:] if isinstance(wanted, Scores) else wanted.shape))
    if output.dtype != torch.float32 or output.shape != shape:
        raise GanzooError(
            f"the network cannot be exported: its signature promises float32 {list(shape)}, "
            f"but it returns {str(output.dtype).removeprefix('torch.')} {list(output.shape)}"
        )
    if not output.isfinite().all():
        raise GanzooError("the network cannot be exported: it returns values that are not finite")
    return output.numpy()


def largest_difference(
    generator: Callable[..., NDArray[Any]],
    inputs: Sequence[Sequence[NDArray[Any]]],
    expected: Sequence[NDArray[Any]],
    signature: Signature,
) -> tuple[float, int]:
    """Return the largest relative difference to what torch returned, and the batch size where it was found."""
    found = [generator(*arrays) for arrays in inputs]
    differences: list[tuple[float, int]] = []
    for ours, theirs in zip(found, expected, strict=True):
        if ours.shape != theirs.shape:
            raise GanzooError(
                f"the exported network returns {list(ours.shape)} where torch returns {list(theirs.shape)}"
            )
        difference = float(np.abs(ours.astype(np.float64) - theirs).max()) / signature.output.span(theirs)
        differences.append((math.inf if math.isnan(difference) else difference, len(theirs)))
    return max(differences)


def own_rounding(network: Network, inputs: Sequence[Sequence[NDArray[Any]]], expected: Sequence[NDArray[Any]]) -> float:
    """Return the largest relative difference between the network in float32 and in float64, both in torch."""
    # float64 is the reference for both: the difference of float32 to it is what no exporter can avoid.
    exact, differences = copy.deepcopy(network).double(), [0.0]
    for arrays, theirs in zip(inputs, expected, strict=True):
        tensors = [torch.from_numpy(array) for array in arrays]
        try:
            with torch.no_grad():
                found = exact(*(tensor.double() if tensor.is_floating_point() else tensor for tensor in tensors))
        except Exception:  # a network may insist on float32 somewhere
            return 0.0
        differences.append(float(np.abs(found.numpy() - theirs).max()) / network.signature.output.span(theirs))
    return max(differences)


def held_out(
    generator: runtime.Generator, network: Network, seeds: Sequence[int]
) -> tuple[dict[str, float], list[NDArray[np.float32]]]:
    """Return how far the file is from torch over whole batches, and what torch and the file return for them."""
    inputs = [list(feed.values()) for feed in feeds(network.signature, seeds)]
    with torch.no_grad():
        expected = np.concatenate([apply(network, arrays) for arrays in inputs])
    found = np.concatenate([generator(*arrays) for arrays in inputs])
    span, error = network.signature.output.span(expected), found - expected
    figures = {"psnr": psnr(error, span), "mean_difference": float(np.abs(error).mean()) / span}
    return figures, [expected, found]


def psnr(error: NDArray[np.floating[Any]], span: float) -> float:
    """Return the peak signal-to-noise ratio, in decibels, of errors of values with this span; at most 200."""
    mean = float(np.square(error, dtype=np.float64).mean()) / span**2
    return -10 * math.log10(max(mean, 1e-20))


def pixels_agree(
    generator: runtime.Generator, ours: runtime.Generator, inputs: Sequence[Sequence[NDArray[Any]]], field: Image
) -> bool:
    """Tell whether a file's pixels are those that the same model's floating point numbers give, or next to them."""
    for arrays in inputs:
        wanted = to_pixels(generator(*arrays), field.range)
        found = to_pixels(ours(*arrays), field.range, ours.signature["output"]["layout"])
        # onnxruntime may fuse the scaling with a convolution; the last bit then decides between two neighboring levels.
        if np.abs(found.astype(np.int16) - wanted).max() > 1:
            return False
    return True
