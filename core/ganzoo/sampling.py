"""Drawing samples from a trained network, the same ones for the same seed wherever they are drawn."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from ganzoo.errors import UserError, did_you_mean
from ganzoo.networks import Network
from ganzoo.signature import Attributes, Label, Latent, Signature

if TYPE_CHECKING:
    from ganzoo.formats import Labels, Vectors

__all__ = ["TorchSampler", "draw_inputs", "run_batched"]


def draw_inputs(
    signature: Signature,
    n: int,
    seed: int,
    *,
    label: Labels = None,
    attributes: Vectors = None,
    truncation: float = 1.0,
) -> list[Tensor]:
    """Return the inputs of ``n`` samples, in the signature's order, on the CPU.

    Latents come from NumPy's Philox generator, the i-th latent from the stream jumped i times, so that they are the
    same on every machine and for the ONNX runtime; they are multiplied by ``truncation``. ``label`` and ``attributes``
    are what :meth:`ganzoo.Sampler.sample` takes: by default, all combinations of classes take turns, and so do the
    examples of attributes.
    Raises :class:`UserError` for inputs that cannot be drawn, and for labels or attributes that the model does not
    take, of a wrong number or out of range.
    """
    if n < 1:
        raise UserError(f"at least one sample, not {n}")
    if seed < 0:
        raise UserError(f"a seed is at least 0, not {seed}")
    rows = _label_rows(signature, n, label) | _attribute_rows(signature, n, attributes)
    inputs = []
    latents = 0
    index = rest = np.arange(n)
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
            case Label() | Attributes() if field.name in rows:
                given = rows[field.name]
                inputs.append(torch.from_numpy(given[index % len(given)]))
            case Label():
                inputs.append(torch.from_numpy(rest % field.classes))
                rest = rest // field.classes
            case _:
                raise UserError(f"the network takes {field.kind} {field.name!r}, which cannot be drawn at random")
    return inputs


def _label_rows(signature: Signature, n: int, label: Labels) -> dict[str, NDArray[Any]]:
    """Return the classes that are asked for, int64 [1] or [n], by the name of the label."""
    fields = {field.name: field for field in signature.inputs if isinstance(field, Label)}
    if label is None:
        return {}
    if not isinstance(label, Mapping):
        if not fields:
            raise UserError("this model knows no labels; leave the label out")
        if len(fields) > 1:
            raise UserError(
                f"this model has the labels {', '.join(fields)}; name the one that is meant: {{name: class}}"
            )
        label = dict.fromkeys(fields, label)
    rows = {}
    for name, classes in label.items():
        if name not in fields:
            raise UserError(f"this model has no label {name!r}{did_you_mean(str(name), fields)}")
        try:
            given = np.asarray(classes)
        except ValueError:
            given = np.empty(0)
        if given.dtype.kind not in "iu" or given.shape not in ((), (n,)):
            raise UserError(f"the label {name!r} is one whole number, or one for each of the {n} samples")
        if (wrong := given[(given < 0) | (given >= fields[name].classes)]).size:
            raise UserError(f"the label {name!r} is 0 to {fields[name].classes - 1}, not {wrong.flat[0]}")
        rows[name] = given.reshape(-1).astype(np.int64)
    return rows


def _attribute_rows(signature: Signature, n: int, attributes: Vectors) -> dict[str, NDArray[Any]]:
    """Return the vectors that take turns, float32 [any, dim], by the name of the field."""
    fields = [field for field in signature.inputs if isinstance(field, Attributes)]
    if attributes is not None and len(fields) != 1:
        several = f"several attribute vectors ({', '.join(field.name for field in fields)}), which take no values yet"
        raise UserError(f"this model knows {several if fields else 'no attributes'}; leave the attributes out")
    rows = {}
    for field in fields:
        values = _finite(field.examples or [[0.0] * field.dim])
        if isinstance(attributes, Mapping):
            names = field.names or tuple(map(str, range(field.dim)))
            for name, value in attributes.items():
                if str(name) not in names:
                    raise UserError(f"this model has no attribute {name!r}{did_you_mean(str(name), names)}")
                if (given := _finite(value)).ndim:
                    raise UserError(f"the attribute {name!r} is one number for all samples")
                values[:, names.index(str(name))] = given
        elif attributes is not None:
            values = _finite(attributes)
            if values.shape not in ((field.dim,), (n, field.dim)):
                raise UserError(
                    f"the attributes of {n} samples of this model have the shape {[field.dim]} or {[n, field.dim]}, "
                    f"not {list(values.shape)}"
                )
        rows[field.name] = values.reshape(-1, field.dim).astype(np.float32)
    return rows


def _finite(values: Any) -> NDArray[np.float64]:
    try:
        numbers = np.array(values, np.float64)
    except (TypeError, ValueError, OverflowError):
        raise UserError("attributes are numbers, as many in every row") from None
    if not (np.abs(numbers) <= np.finfo(np.float32).max).all():
        raise UserError("attributes are finite numbers that float32 can hold")
    return numbers


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
        self, n: int, *, seed: int = 0, label: Labels = None, attributes: Vectors = None, truncation: float = 1.0
    ) -> NDArray[np.float32]:
        """Draw ``n`` samples, float32 [n, ...] in the signature's range; see :meth:`ganzoo.Sampler.sample`."""
        inputs = draw_inputs(self.network.signature, n, seed, label=label, attributes=attributes, truncation=truncation)
        samples: NDArray[np.float32] = run_batched(self.network, inputs).contiguous().numpy()
        return samples
