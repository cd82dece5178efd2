"""Drawing samples from a trained network, the same ones for the same seed wherever they are drawn."""

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ganzoo.errors import UserError
from ganzoo.networks import Network
from ganzoo.signature import Label, Latent, Signature

__all__ = ["TorchSampler", "draw_inputs", "run_batched"]


def draw_inputs(
    signature: Signature,
    n: int,
    seed: int,
    *,
    label: int | Sequence[int] | None = None,
    truncation: float = 1.0,
) -> list[Tensor]:
    """Return the inputs of ``n`` samples, in the signature's order, on the CPU.

    Latents come from NumPy's Philox generator, the i-th latent from the stream jumped i times, so that they are the
    same on every machine and for the ONNX runtime; they are multiplied by ``truncation``. Labels are ``label``, or
    cycle through the classes if it is None.
    Raises :class:`UserError` for inputs that cannot be drawn or a label out of range.
    """
    if n < 1:
        raise UserError(f"at least one sample, not {n}")
    if seed < 0:
        raise UserError(f"a seed is at least 0, not {seed}")
    inputs = []
    latents = 0
    for field in signature.inputs:
        match field:
            case Latent():
                # A stream of its own for each latent, so that fewer samples are a prefix of more.
                stream = np.random.Philox(seed)
                rng = np.random.Generator(stream.jumped(latents) if latents else stream)
                shape, latents = (n, *field.shape), latents + 1
                if field.distribution == "normal":
                    values = rng.standard_normal(shape, dtype=np.float32)
                else:
                    values = rng.random(shape, dtype=np.float32) * np.float32(2) - np.float32(1)
                inputs.append(torch.from_numpy(values * np.float32(truncation)))
            case Label():
                inputs.append(_labels(field, n, label))
            case _:
                raise UserError(f"the network takes {field.kind} {field.name!r}, which cannot be drawn at random")
    if label is not None and not any(isinstance(field, Label) for field in signature.inputs):
        raise UserError("this model knows no labels; leave the label out")
    return inputs


def _labels(field: Label, n: int, label: int | Sequence[int] | None) -> Tensor:
    if label is None:
        return torch.arange(n) % field.classes
    labels = torch.full((n,), label) if isinstance(label, int) else torch.tensor(list(label))
    if len(labels) != n:
        raise UserError(f"{len(labels)} labels for {n} samples")
    if bool((labels < 0).any()) or bool((labels >= field.classes).any()):
        raise UserError(f"a label of this model is 0 to {field.classes - 1}, not {label}")
    return labels


@torch.no_grad()
def run_batched(network: Network, inputs: Sequence[Tensor], batch_size: int = 64) -> Tensor:
    """Apply the network to inputs of any number in batches on its device; the result is on the CPU."""
    parameter = next(network.parameters(), None)
    device = parameter.device if parameter is not None else torch.device("cpu")
    parts = [
        network(*(part.to(device) for part in batch)).float().cpu()
        for batch in zip(*(torch.split(part, batch_size) for part in inputs), strict=True)
    ]
    return torch.cat(parts)


class TorchSampler:
    """Draws from a network in torch: what a run folder opens to."""

    def __init__(self, network: Network, metadata: Mapping[str, Any]) -> None:
        self.network = network.eval()
        self.metadata = metadata
        parameter = next(network.parameters(), None)
        self.device = f"torch {torch.__version__} on {parameter.device if parameter is not None else 'cpu'}"

    def sample(
        self, n: int, *, seed: int = 0, label: int | Sequence[int] | None = None, truncation: float = 1.0
    ) -> NDArray[np.float32]:
        """Draw ``n`` samples, float32 [n, ...] in the signature's range."""
        inputs = draw_inputs(self.network.signature, n, seed, label=label, truncation=truncation)
        samples: NDArray[np.float32] = run_batched(self.network, inputs).contiguous().numpy()
        return samples
