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
from ganzoo.signature import Attributes, Label, Latent, Mask, Signature

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
    latents: Given = None,
    means: Mapping[str, ArrayLike] | None = None,
) -> list[Tensor]:
    """Return the inputs of ``n`` samples, in the signature's order, on the CPU.

    Latents come from NumPy's Philox generator, the i-th latent from the stream jumped i times, so that they are the
    same on every machine and for the ONNX runtime; ``truncation`` moves them towards their mean, 0 unless ``means``,
    by name, say otherwise. ``label``, ``attributes`` and ``latents`` are what :meth:`ganzoo.Sampler.sample` takes: by
    default, all combinations of classes take turns, and so do the examples of attributes.
    Raises :class:`UserError` for inputs that cannot be drawn, and for labels, attributes or latents that the model does
    not take, of a wrong number or out of range.
    """
    asked = {"label": label, "attributes": attributes, "truncation": truncation, "latents": latents, "means": means}
    return next(_draw(signature, n, seed, n, **asked))


def _draw(
    signature: Signature,
    n: int,
    seed: int,
    batch: int,
    *,
    label: Labels,
    attributes: Vectors,
    truncation: float,
    latents: Given,
    means: Mapping[str, ArrayLike] | None,
) -> Iterator[list[Tensor]]:
    """Return an iterator over the inputs of ``n`` samples, so many at a time; they do not depend on how many."""
    if n < 1:
        raise UserError(f"at least one sample, not {n}")
    if seed < 0:
        raise UserError(f"a seed is at least 0, not {seed}")
    for field in signature.inputs:
        if not isinstance(field, Latent | Label | Attributes):
            raise UserError(f"the network takes {field.kind} {field.name!r}, which cannot be drawn at random")
    rows = _label_rows(signature, n, label) | _attribute_rows(signature, n, attributes)
    rows |= _latent_rows(signature, n, latents)
    streams = {}
    for field in signature.inputs:
        if isinstance(field, Latent):
            # A stream of its own for each latent, so that fewer samples are a prefix of more.
            stream = np.random.Philox(seed)
            streams[field.name] = np.random.Generator(stream.jumped(len(streams)) if streams else stream)

    def pieces() -> Iterator[list[Tensor]]:
        for start in range(0, n, batch):
            index = rest = np.arange(start, min(start + batch, n))
            inputs = []
            for field in signature.inputs:
                if (given := rows.get(field.name)) is not None:
                    values = given[index % len(given)]
                elif isinstance(field, Latent):
                    values = _noise(streams[field.name], field, len(index))
                    values = truncate(values, truncation, (means or {}).get(field.name, 0.0))
                else:
                    assert isinstance(field, Label)
                    values, rest = rest % field.classes, rest // field.classes
                inputs.append(torch.from_numpy(values))
            yield inputs

    return pieces()


def _noise(rng: np.random.Generator, field: Latent, n: int) -> NDArray[np.float32]:
    shape = (n, *field.shape)
    if field.distribution == "normal":
        return rng.standard_normal(shape, dtype=np.float32)
    return rng.random(shape, dtype=np.float32) * np.float32(2) - np.float32(1)


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


def _latent_rows(signature: Signature, n: int, latents: Given) -> dict[str, NDArray[Any]]:
    """Return the latents that are given, float32 [1 or n, *shape], by name."""
    fields = {field.name: field for field in signature.inputs if isinstance(field, Latent)}
    if latents is None:
        return {}
    if not fields:
        raise UserError("this model takes no latents")
    if not isinstance(latents, Mapping):
        latents = {next(iter(fields)): latents}
    rows = {}
    for name, given in latents.items():
        if name not in fields:
            raise UserError(f"this model has no latent {name!r}{did_you_mean(str(name), fields)}")
        values, shape = _finite(given, "latents"), fields[name].shape
        if values.shape not in (shape, (n, *shape)):
            raise UserError(
                f"the latents of {n} samples of this model have the shape {list(shape)} or {[n, *shape]}, "
                f"not {list(values.shape)}"
            )
        rows[name] = values.reshape(-1, *shape).astype(np.float32)
    return rows


def _finite(values: Any, what: str = "attributes") -> NDArray[np.float64]:
    try:
        numbers = np.array(values, np.float64)
    except (TypeError, ValueError, OverflowError):
        raise UserError(f"{what} are numbers, as many in every row") from None
    if not (np.abs(numbers) <= np.finfo(np.float32).max).all():
        raise UserError(f"{what} are finite numbers that float32 can hold")
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

    def latents(self, n: int, seed: int = 0, name: str | None = None, *, truncation: float = 1.0) -> NDArray[np.float32]:
        """Return the latents of ``n`` samples, [n, *shape]; see :meth:`ganzoo.Sampler.latents`."""
        latents = [field.name for field in self.network.signature.inputs if isinstance(field, Latent)]
        if not latents or name not in (None, *latents):
            raise UserError(f"this model has no such latent; it has: {', '.join(latents) or 'none'}")
        _, inputs = next(self.stream(n, seed=seed, truncation=truncation, batch=n, run=False))
        return inputs[name or latents[0]]
    def sample(
        self, n: int, *, seed: int = 0, label: Labels = None, attributes: Vectors = None, truncation: float = 1.0
    ) -> NDArray[np.float32]:
        """Draw ``n`` samples, float32 [n, ...] in the signature's range; see :meth:`ganzoo.Sampler.sample`."""
        inputs = draw_inputs(self.network.signature, n, seed, label=label, attributes=attributes, truncation=truncation)
        samples: NDArray[np.float32] = run_batched(self.network, inputs).contiguous().numpy()
        return samples
