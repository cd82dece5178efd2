"""Drawing samples from a trained network, the same ones for the same seed wherever they are drawn."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from math import prod
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from numpy.typing import ArrayLike, NDArray
from torch import Tensor

from ganzoo.errors import UserError, did_you_mean
from ganzoo.fields import Attributes, Label, Latent, Mask, Signature
from ganzoo.gan.networks import Network
from ganzoo_runtime.latents import pick, truncate

if TYPE_CHECKING:
    from ganzoo.inference.formats import Given, Labels, Vectors

__all__ = ["TorchSampler", "draw_inputs", "run_batched"]

BATCH = 64
"""Samples that are computed at a time."""

PIECE = 2**20
"""Numbers of latents that are drawn at a time where few of them are wanted."""


def draw_inputs(
    signature: Signature,
    n: int,
    seed: int,
    *,
    label: Labels = None,
    attributes: Vectors = None,
    truncation: float = 1.0,
    given: Mapping[str, Tensor] | None = None,
    means: Mapping[str, ArrayLike] | None = None,
) -> list[Tensor]:
    """Return the inputs of ``n`` samples, in the signature's order, on the CPU.

    Latents come from NumPy's Philox generator, the i-th latent from the stream jumped i times, so that they are the
    same on every machine and for the ONNX runtime; ``truncation`` moves them towards their mean, 0 unless ``means``,
    by name and row-major, say otherwise. ``label`` and ``attributes`` are what :meth:`ganzoo.Sampler.sample` takes: by
    default, all combinations of classes take turns, and so do the examples of attributes. A mask is one rectangle at
    random. ``given`` are inputs that are not drawn, by name, [any, ...] each: they take turns, and names that the
    network does not take are passed over.
    Raises :class:`UserError` for inputs that cannot be drawn, and for labels or attributes that the model does not
    take, of a wrong number or out of range.
    """
    asked: dict[str, Any] = {
        "label": label,
        "attributes": attributes,
        "truncation": truncation,
        "given": given,
        "means": means,
    }
    return next(_pieces(signature, n, seed, n, **asked))


def _pieces(
    signature: Signature,
    n: int,
    seed: int,
    batch: int,
    *,
    label: Labels = None,
    attributes: Vectors = None,
    truncation: float = 1.0,
    given: Mapping[str, Tensor] | None = None,
    means: Mapping[str, ArrayLike] | None = None,
) -> Iterator[list[Tensor]]:
    """Return the inputs of :func:`draw_inputs`, ``batch`` samples at a time; they do not depend on how many."""
    if n < 1:
        raise UserError(f"at least one sample, not {n}")
    if seed < 0:
        raise UserError(f"a seed is at least 0, not {seed}")
    rows = {name: torch.from_numpy(row) for name, row in _label_rows(signature, n, label).items()}
    rows |= {name: torch.from_numpy(row) for name, row in _attribute_rows(signature, n, attributes).items()}
    rows |= given or {}
    streams: dict[str, np.random.Generator] = {}
    # A stream of its own for each latent, so that fewer samples are a prefix of more; those of masks come after them.
    for field in sorted(signature.inputs, key=lambda field: isinstance(field, Mask)):
        if isinstance(field, Latent | Mask):
            stream = np.random.Philox(seed)
            streams[field.name] = np.random.Generator(stream.jumped(len(streams)) if streams else stream)
        elif not isinstance(field, Label) and field.name not in rows:
            raise UserError(f"the network takes {field.kind} {field.name!r}, which cannot be drawn at random")

    middles = {f.name: np.reshape(means[f.name], f.shape) for f in signature.inputs if means and f.name in means}

    def pieces() -> Iterator[list[Tensor]]:
        for start in range(0, n, batch):
            index = rest = np.arange(start, min(start + batch, n))
            inputs = []
            for field in signature.inputs:
                if (row := rows.get(field.name)) is not None:
                    inputs.append(row[index % len(row)])
                elif isinstance(field, Latent):
                    values = _noise(streams[field.name], field, len(index))
                    inputs.append(torch.from_numpy(truncate(values, truncation, middles.get(field.name, 0.0))))
                elif isinstance(field, Mask):
                    inputs.append(torch.from_numpy(_holes(streams[field.name], field, len(index))))
                else:
                    assert isinstance(field, Label)
                    inputs.append(torch.from_numpy(rest % field.classes))
                    rest = rest // field.classes
            yield inputs

    return pieces()


def _noise(rng: np.random.Generator, field: Latent, n: int) -> NDArray[np.float32]:
    shape = (n, *field.shape)
    if field.distribution == "normal":
        return rng.standard_normal(shape, dtype=np.float32)
    return rng.random(shape, dtype=np.float32) * np.float32(2) - np.float32(1)


def _holes(rng: np.random.Generator, field: Mask, n: int) -> NDArray[np.float32]:
    """Return masks, [n, 1, H, W], of one rectangle each, a quarter to a half as high and as wide as the image."""
    sides = np.array([field.height, field.width])
    rolls = rng.random((n, 2, 2))
    sizes = np.maximum(1, np.round(sides * (0.25 + 0.25 * rolls[:, 0]))).astype(np.int64)
    starts = np.floor((sides - sizes + 1) * rolls[:, 1]).astype(np.int64)
    inside = [
        (np.arange(side) >= start[:, None]) & (np.arange(side) < (start + size)[:, None])
        for side, start, size in zip(sides, starts.T, sizes.T, strict=True)
    ]
    holes: NDArray[np.bool_] = inside[0][:, None, :, None] & inside[1][:, None, None, :]
    return holes.astype(np.float32)


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
            raise UserError(
                f"the label {name!r} is one whole number, the index of a class, or one for each of the {n} samples"
            )
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
                key = name if field.names else str(name)  # an index is no name, also where names are numbers
                if key not in names:
                    raise UserError(f"this model has no attribute {name!r}{did_you_mean(str(name), names)}")
                if (given := _finite(value)).ndim:
                    raise UserError(f"the attribute {name!r} is one number for all samples")
                values[:, names.index(key)] = given
        elif attributes is not None:
            values = _finite(attributes)
            if values.shape not in ((field.dim,), (n, field.dim)):
                raise UserError(
                    f"the attributes of {n} samples of this model have the shape {[field.dim]} or {[n, field.dim]}, "
                    f"not {list(values.shape)}"
                )
        rows[field.name] = values.reshape(-1, field.dim).astype(np.float32)
    return rows


def _latent_rows(signature: Signature, n: int, latents: Given) -> dict[str, Tensor]:
    """Return the latents that are given, float32 [1 or n, *shape], by name."""
    fields = {field.name: field for field in signature.inputs if isinstance(field, Latent)}
    if latents is None:
        return {}
    if not fields:
        raise UserError("this model takes no latents")
    if not isinstance(latents, Mapping):
        latents = {next(iter(fields)): latents}
    rows = {}
    for name, values in latents.items():
        if name not in fields:
            raise UserError(f"this model has no latent {name!r}{did_you_mean(str(name), fields)}")
        numbers, shape = _finite(values, "latents"), fields[name].shape
        if numbers.shape not in (shape, (n, *shape)):
            raise UserError(
                f"the latents of {n} samples of this model have the shape {list(shape)} or {[n, *shape]}, "
                f"not {list(numbers.shape)}"
            )
        rows[name] = torch.from_numpy(numbers.reshape(-1, *shape).astype(np.float32))
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
def run_batched(network: Network, inputs: Sequence[Tensor], batch_size: int = BATCH) -> Tensor:
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
        self._means: Mapping[str, ArrayLike] = metadata.get("latent_mean", {})
        parameter = next(network.parameters(), None)
        self.device = f"torch {torch.__version__} on {parameter.device if parameter is not None else 'cpu'}"

    def __call__(self, *arrays: NDArray[Any]) -> NDArray[np.float32]:
        """Apply the network to arrays, [N, ...] each, in the signature's order."""
        output: NDArray[np.float32] = run_batched(self.network, [torch.from_numpy(array) for array in arrays]).numpy()
        return output

    def latents(
        self, n: int | Sequence[int], seed: int = 0, name: str | None = None, *, truncation: float = 1.0
    ) -> NDArray[np.float32]:
        """Return the latents of ``n`` samples, [n, *shape]; see :meth:`ganzoo.Sampler.latents`."""
        fields = {field.name: field for field in self.network.signature.inputs if isinstance(field, Latent)}
        if not fields or name not in (None, *fields):
            raise UserError(f"this model has no such latent; it has: {', '.join(fields) or 'none'}")
        only = Signature(tuple(fields.values()), self.network.signature.output)
        index = list(fields).index(name) if name else 0
        asked: dict[str, Any] = {"truncation": truncation, "means": self._means}
        if not isinstance(n, Sequence | np.ndarray):
            latents: NDArray[np.float32] = draw_inputs(only, n, seed, **asked)[index].numpy()
            return latents
        batch = max(1, PIECE // prod(only.inputs[index].shape))
        return pick((drawn[index].numpy() for drawn in _pieces(only, max(n, default=0) + 1, seed, batch, **asked)), n)

    def stream(
        self,
        n: int,
        *,
        seed: int = 0,
        label: Labels = None,
        attributes: Vectors = None,
        truncation: float = 1.0,
        latents: Given = None,
    ) -> Iterator[tuple[NDArray[Any], Mapping[str, NDArray[Any]]]]:
        """Yield samples a piece at a time, with their inputs by name; see :meth:`ganzoo.Sampler.stream`."""
        signature = self.network.signature
        drawn = _pieces(
            signature,
            n,
            seed,
            BATCH,
            label=label,
            attributes=attributes,
            truncation=truncation,
            given=_latent_rows(signature, n, latents),
            means=self._means,
        )

        def pieces() -> Iterator[tuple[NDArray[Any], Mapping[str, NDArray[Any]]]]:
            for inputs in drawn:
                named = {field.name: part.numpy() for field, part in zip(signature.inputs, inputs, strict=True)}
                yield run_batched(self.network, inputs).contiguous().numpy(), named

        return pieces()

    def sample(
        self,
        n: int,
        *,
        seed: int = 0,
        label: Labels = None,
        attributes: Vectors = None,
        truncation: float = 1.0,
        latents: Given = None,
    ) -> NDArray[np.float32]:
        """Draw ``n`` samples, float32 [n, ...] in the signature's range; see :meth:`ganzoo.Sampler.sample`."""
        pieces = self.stream(n, seed=seed, label=label, attributes=attributes, truncation=truncation, latents=latents)
        return np.concatenate([samples for samples, _ in pieces])
