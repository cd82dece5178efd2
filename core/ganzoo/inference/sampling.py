"""Drawing samples from a network in torch; a seed gives the same latents as for the exported file."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from ganzoo.errors import UserError, user_errors
from ganzoo.fields import Latent, Signature
from ganzoo.gan.networks import Network, StyleGenerator
from ganzoo_runtime.inputs import check_inputs
from ganzoo_runtime.random_inputs import NO_STYLES, Drawing, check_memory, draw_latents, draw_numbered

if TYPE_CHECKING:
    from ganzoo_runtime.random_inputs import Given, Labels, Texts, Truncation, Vectors

__all__ = ["BATCH", "TorchSampler", "draw_inputs", "run_batched"]

BATCH = 64
"""Samples that are computed at a time."""


def draw_inputs(
    signature: Signature,
    n: int,
    seed: int,
    *,
    label: Labels = None,
    attributes: Vectors = None,
    text: Texts = None,
    truncation: Truncation = None,
    given: Mapping[str, Tensor] | None = None,
) -> list[Tensor]:
    """Return the inputs of ``n`` samples, in the signature's order, on the CPU.

    They are those of :class:`ganzoo_runtime.random_inputs.Drawing`, which also describes the arguments; ``given`` are
    tensors on the CPU. Raises :class:`UserError` for inputs that cannot be drawn and for requests that do not fit.
    """
    # NumPy's Philox and not torch's generator: the runtime has no torch, and torch's numbers differ between the CPU and
    # a GPU. They are drawn on the CPU for the same reason.
    rows = {name: part.numpy() for name, part in (given or {}).items()}
    asked: dict[str, Any] = {"label": label, "attributes": attributes, "text": text, "truncation": truncation}
    with user_errors():
        drawing = Drawing([field.to_json() for field in signature.inputs], n, seed, given=rows, **asked)
    return [torch.from_numpy(part) for part in drawing.take(drawing.n).values()]


@torch.no_grad()
def run_batched(
    network: Network, inputs: Sequence[Tensor], batch_size: int = BATCH, compute: Callable[..., Tensor] | None = None
) -> Tensor:
    """Apply the network, or another function of it, to inputs of any number in batches on its device.

    The result is on the CPU.
    """
    parameter = next(network.parameters(), None)
    device = parameter.device if parameter is not None else torch.device("cpu")
    parts = [
        (compute or network)(*(part.to(device) for part in batch)).float().cpu()
        for batch in zip(*(torch.split(part, batch_size) for part in inputs), strict=True)
    ]
    return torch.cat(parts)


class TorchSampler:
    """Draws samples from a network in torch; loading a run folder returns one."""

    def __init__(self, network: Network, metadata: Mapping[str, Any]) -> None:
        self.network = network.eval()
        self.metadata = metadata
        self._fields = [field.to_json() for field in network.signature.inputs]
        self._means: Mapping[str, ArrayLike] = metadata.get("latent_mean", {})
        parameter = next(network.parameters(), None)
        self.device = f"torch {torch.__version__} on {parameter.device if parameter is not None else 'cpu'}"

    def __call__(self, *arrays: NDArray[Any]) -> NDArray[np.float32]:
        """Apply the network to arrays, [N, ...] each, in the signature's order; UserError for what does not fit it."""
        with user_errors():
            inputs = check_inputs(self._fields, [np.asarray(array) for array in arrays])
        return self._computed(inputs)

    def latents(
        self, n: int | Sequence[int], seed: int = 0, name: str | None = None, *, truncation: Truncation = None
    ) -> NDArray[np.float32]:
        """Return the latents of ``n`` samples, [n, *shape]; see :meth:`ganzoo.Sampler.latents`."""
        with user_errors():
            return draw_latents(self._fields, n, seed, name, truncation=truncation, means=self._means)

    def styles(
        self,
        n: int | Sequence[int],
        seed: int = 0,
        *,
        label: Labels = None,
        attributes: Vectors = None,
        text: Texts = None,
        truncation: Truncation = None,
    ) -> NDArray[np.float32]:
        """Return the styles of ``n`` samples, [n, L, D]; see :meth:`ganzoo.Sampler.styles`."""
        if not isinstance(self.network, StyleGenerator):
            raise UserError(NO_STYLES)
        asked: dict[str, Any] = {"label": label, "attributes": attributes, "text": text, "truncation": truncation}
        with user_errors():
            inputs = draw_numbered(self._fields, n, seed, means=self._means, **asked)
        return self._computed(inputs, self.network.styles)

    def stream(
        self,
        n: int,
        *,
        seed: int = 0,
        label: Labels = None,
        attributes: Vectors = None,
        text: Texts = None,
        truncation: Truncation = None,
        latents: Given = None,
    ) -> Iterator[tuple[NDArray[Any], Mapping[str, NDArray[Any]]]]:
        """Yield samples a piece at a time, with their inputs by name; see :meth:`ganzoo.Sampler.stream`.

        Where a style-based network adds noise maps, the latents may name the ``"noise"`` of samples, [n, S], in their
        place: see :meth:`ganzoo.StyleGenerator.with_noise`.
        """
        asked: dict[str, Any] = {"label": label, "attributes": attributes, "text": text}
        asked |= {"truncation": truncation, "latents": latents}
        network, fields, compute = self.network, self._fields, None
        given = isinstance(latents, Mapping) and "noise" in latents
        if given and isinstance(network, StyleGenerator) and network.noises:
            size = sum(each.numel() for each in network.noises.values())
            fields, compute = [*fields, Latent((size,), name="noise").to_json()], network.with_noise
        with user_errors():
            drawing = Drawing(fields, n, seed, means=self._means, **asked)

        # An inner generator function: were stream() itself one, nothing would run before the first next(), and a wrong
        # request would raise there instead of at the call.
        def pieces() -> Iterator[tuple[NDArray[Any], Mapping[str, NDArray[Any]]]]:
            for done in range(0, drawing.n, BATCH):
                inputs = drawing.take(min(BATCH, drawing.n - done))
                yield np.ascontiguousarray(self._computed(inputs, compute)), inputs

        return pieces()

    def sample(
        self,
        n: int,
        *,
        seed: int = 0,
        label: Labels = None,
        attributes: Vectors = None,
        text: Texts = None,
        truncation: Truncation = None,
        latents: Given = None,
    ) -> NDArray[np.float32]:
        """Draw ``n`` samples, float32 [n, ...] in the signature's range; see :meth:`ganzoo.Sampler.sample`."""
        output = self.network.signature.output
        asked: dict[str, Any] = {"label": label, "attributes": attributes, "text": text}
        pieces = self.stream(n, seed=seed, truncation=truncation, latents=latents, **asked)
        with user_errors():
            check_memory(n, 4 * math.prod(output.shape))
        return np.concatenate([samples for samples, _ in pieces])

    def _computed(
        self, inputs: Mapping[str, NDArray[Any]], compute: Callable[..., Tensor] | None = None
    ) -> NDArray[np.float32]:
        tensors = [torch.from_numpy(part) for part in inputs.values()]
        output: NDArray[np.float32] = run_batched(self.network, tensors, compute=compute).numpy()
        return output
