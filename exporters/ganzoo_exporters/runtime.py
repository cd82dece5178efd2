"""Draw samples from a generator that ganzoo exported to ONNX. This one file, numpy and onnxruntime are all it takes.

    generator = Generator("digits.onnx")
    samples = generator.sample(64, seed=0)                                     # float32 [64, C, H, W]
    images = pixels(samples, generator.signature["output"]["range"])           # uint8 [64, H, W, C]

The file says itself what goes in and what comes out: its metadata entry ``ganzoo`` is a JSON document with a
``signature`` of ``inputs`` and ``output``. Each field is a dict with ``kind``, ``name``, ``dtype``, ``shape`` (without
the batch), and by kind ``distribution`` (latent), ``classes`` and ``names`` (label), ``names`` and ``examples``
(attributes) or ``range`` (image).
"""

from __future__ import annotations

import contextlib
import ctypes
import functools
import io
import json
import operator
import os
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime as ort
from numpy.typing import ArrayLike, NDArray

__all__ = ["Generator", "ModelError", "pixels"]

_SCHEMA = 1  # the version of the metadata document that is read here
_CUDA, _CPU = "CUDAExecutionProvider", "CPUExecutionProvider"
# By default cuDNN tries out every algorithm again for each new shape, and TF32 costs 1e-3 of accuracy.
_OPTIONS: dict[str, dict[str, str]] = {_CUDA: {"cudnn_conv_algo_search": "HEURISTIC", "use_tf32": "0"}}
_TYPES = {"float32": "tensor(float)", "int64": "tensor(int64)"}
Floats = NDArray[np.float32]
Classes = int | Sequence[int] | NDArray[np.integer[Any]]
Labels = Classes | Mapping[str, Classes] | None
Vectors = ArrayLike | Mapping[str, float] | None
Source = str | os.PathLike[str] | bytes


class ModelError(ValueError):
    """The file is not a generator exported by ganzoo, or it is damaged, or it cannot be run."""


class Generator:
    """A generator ready to draw. All methods may be called from several threads at once.

    ``source`` is the file, or its content. ``providers`` are names of onnxruntime's execution providers, best first:
    those that do not work here are passed over, and :class:`ModelError` is raised if none is left. By default it is
    CUDA, then the CPU. ``threads`` is the number of CPU threads, by default one per core. A file of more than ``limit``
    bytes is refused. Open only files that you trust: it is checked that the file is whole and one of ours, no more.

    ``metadata`` is the whole document and ``signature`` a part of it; ``inputs``, in the order in which a call takes
    them, and ``output`` are names; ``provider``, alias ``device``, is what really runs, not only what was asked for.
    """

    def __init__(
        self, source: Source, *, providers: Sequence[str] | None = None, threads: int | None = None, limit: int = 2**31
    ) -> None:
        self._name = "the model" if isinstance(source, bytes) else Path(source).name
        self.metadata: Mapping[str, Any] = _metadata(_read(source, self._name, limit), self._name)
        self.signature = self.metadata["signature"]
        self._fields: list[dict[str, Any]] = self.signature["inputs"]
        self._latents = [field for field in self._fields if field["kind"] == "latent"]
        self.inputs = tuple(field["name"] for field in self._fields)
        self._session = _session(source, self._name, providers, threads)
        self.provider = self.device = self._session.get_providers()[0]
        found = [(node.name, node.type, node.shape[1:]) for node in self._session.get_inputs()]
        if found != [(field["name"], _TYPES[field["dtype"]], field["shape"]) for field in self._fields]:
            raise ModelError(f"{self._name} is inconsistent: the inputs of its graph are not those of its signature")
        self.output = self._session.get_outputs()[0].name

    def describe(self) -> str:
        """Return one line that says what runs it."""
        return f"onnxruntime {ort.__version__} on {self.provider}"

    def __call__(self, *arrays: ArrayLike) -> Floats:
        """Apply the network to one batch: one array per input, in their order, each [N, ...]."""
        if len(arrays) != len(self._fields):
            raise ValueError(f"this model takes the inputs {', '.join(self.inputs)}; {len(arrays)} were given")
        feed: dict[str, NDArray[Any]] = {}
        for field, array in zip(self._fields, arrays, strict=True):
            name, value = field["name"], np.asarray(array)
            if not value.size or list(value.shape[1:]) != field["shape"] or not value.shape:
                raise ValueError(f"input {name!r} has the shape {['N', *field['shape']]}, not {list(value.shape)}")
            if not np.can_cast(value.dtype, field["dtype"], "same_kind"):
                raise ValueError(f"input {name!r} is {field['dtype']}, not {value.dtype}")
            if field["kind"] == "label":
                _check_labels(value, field["classes"])
            feed[name] = np.ascontiguousarray(value, field["dtype"])
        if len(sizes := {len(value) for value in feed.values()}) > 1:
            raise ValueError(f"the inputs of one call have one batch size, not {sorted(sizes)}")
        try:
            return np.asarray(self._session.run([self.output], feed)[0], np.float32)
        except Exception as error:
            raise ModelError(f"{self._name} cannot be run: {' '.join(str(error).split())[:300]}") from None

    def latents(self, n: int, seed: int = 0, name: str | None = None) -> Floats:
        """Return the latents of ``n`` samples, float32 [n, *shape]: those that :meth:`sample` uses for this seed.

        The procedure: ``numpy.random.Generator(numpy.random.Philox(seed))``, and from it ``standard_normal((n, *shape),
        dtype=float32)`` or, for ``"uniform"``, ``random((n, *shape), dtype=float32) * 2 - 1``. The numbers are consumed
        one after another in row-major order, so drawing in pieces gives the same, and fewer samples are a prefix of
        more. Nothing but latents is drawn. Should a model have further ones, number ``i = 1, 2 ...`` in the order of
        the inputs has ``Philox(seed).jumped(i)``. ``name`` picks one of them, by default the first.
        """
        for index, field in enumerate(self._latents):
            if name in (None, field["name"]):
                return _draw(_random(seed, index), field, _whole(n, 1, "the number of samples"))
        raise ValueError(f"this model has no such latent; it takes the inputs {', '.join(self.inputs)}")

    def sample(
        self,
        n: int,
        *,
        seed: int = 0,
        label: Labels = None,
        attributes: Vectors = None,
        truncation: float = 1.0,
        batch: int = 64,
    ) -> Floats:
        """Draw ``n`` samples, float32 [n, ...] in the signature's range; the same seed gives the same latents.

        ``label`` is one class for all or one for each sample; of a model with several labels, a mapping from names of
        labels to such. Labels that are left out take all their combinations in turn, the first changing fastest.
        ``attributes`` is one vector for all or one for each sample; or a mapping from names of attributes (indices, if
        they have no names) to numbers, put into the signature's examples, which take turns (zeros if there are none).
        ``truncation`` multiplies the latents: below 1 they move towards their mean, 0, for more typical and less
        varied samples. ``batch`` samples are computed at a time; it changes speed and memory, not the latents.
        """
        done, samples = 0, np.empty(0, np.float32)
        given: dict[str, Any] = {"label": label, "attributes": attributes, "truncation": truncation}
        for chunk in self.stream(n, seed=seed, batch=batch, **given):
            if not done:
                samples = np.empty((n, *chunk.shape[1:]), np.float32)
            samples[done : done + len(chunk)] = chunk
            done += len(chunk)
        return samples

    def stream(
        self,
        n: int,
        *,
        seed: int = 0,
        label: Labels = None,
        attributes: Vectors = None,
        truncation: float = 1.0,
        batch: int = 64,
    ) -> Iterator[Floats]:
        """Yield what :meth:`sample` returns, ``batch`` samples at a time, in constant memory."""
        n, batch = _whole(n, 1, "the number of samples"), _whole(batch, 1, "the batch size")
        if not (np.isfinite(truncation) and truncation >= 0):
            raise ValueError(f"the truncation is a number of at least 0, not {truncation}")
        if not self._latents or {field["kind"] for field in self._fields} - {"latent", "label", "attributes"}:
            what = " and ".join(f"{field['kind']} {field['name']!r}" for field in self._fields)
            raise ValueError(f"this model cannot be sampled from noise alone: it takes {what}; call it with arrays")
        rows = _label_rows(self._fields, n, label) | _attribute_rows(self._fields, n, attributes)
        streams = [_random(seed, index) for index in range(len(self._latents))]

        def chunks() -> Iterator[Floats]:
            for start in range(0, n, batch):
                index, stream = np.arange(start, min(start + batch, n)), iter(streams)
                rest, feed = index, list[NDArray[Any]]()
                for field in self._fields:
                    if field["kind"] == "latent":
                        feed.append(_draw(next(stream), field, len(index)) * np.float32(truncation))
                    elif (given := rows.get(field["name"])) is not None:
                        feed.append(given[index % len(given)])
                    else:
                        feed.append(rest % field["classes"])
                        rest = rest // field["classes"]
                yield self(*feed)

        return chunks()


def pixels(samples: ArrayLike, range: Sequence[float]) -> NDArray[np.uint8]:
    """Turn images [N, C, H, W] with values in ``range`` into uint8 [N, H, W, C], rounded half up and clipped."""
    array, (low, high) = np.asarray(samples, np.float32), range
    if array.ndim != 4:
        raise ValueError(f"images have the shape [N, C, H, W], not {list(array.shape)}")
    scaled = np.floor((array - np.float32(low)) * np.float32(255 / (high - low)) + np.float32(0.5))
    return np.ascontiguousarray(np.nan_to_num(scaled.clip(0, 255)).astype(np.uint8).transpose(0, 2, 3, 1))


def _random(seed: int, index: int) -> np.random.Generator:
    stream = np.random.Philox(_whole(seed, 0, "the seed"))
    return np.random.Generator(stream.jumped(index) if index else stream)


def _draw(random: np.random.Generator, field: dict[str, Any], n: int) -> Floats:
    if field["distribution"] == "normal":
        return random.standard_normal((n, *field["shape"]), dtype=np.float32)
    return random.random((n, *field["shape"]), dtype=np.float32) * np.float32(2) - np.float32(1)


def _whole(value: int, least: int, what: str) -> int:
    if operator.index(value) < least:
        raise ValueError(f"{what} is a whole number of at least {least}, not {value}")
    return operator.index(value)


def _label_rows(fields: Sequence[dict[str, Any]], n: int, label: Labels) -> dict[str, NDArray[Any]]:
    """Return the classes that are asked for, [1] or [n], by the name of the label."""
    classes = {field["name"]: field["classes"] for field in fields if field["kind"] == "label"}
    if label is not None and not isinstance(label, Mapping):
        if not classes:
            raise ValueError("this model has no classes, so it takes no label")
        if len(classes) > 1:
            raise ValueError(f"this model has the labels {', '.join(classes)}: give a mapping from a name to a class")
        label = dict.fromkeys(classes, label)
    rows = {name: np.asarray(value) for name, value in (label or {}).items()}
    for name, row in rows.items():
        if name not in classes:
            raise ValueError(f"this model has no label {name!r}; it has: {', '.join(classes)}")
        if row.dtype.kind not in "iu" or row.shape not in ((), (n,)):
            raise ValueError(f"a label is one whole number, or one for each of the {n} samples")
        _check_labels(row, classes[name])
    return {name: row.reshape(-1) for name, row in rows.items()}


def _attribute_rows(fields: Sequence[dict[str, Any]], n: int, attributes: Vectors) -> dict[str, NDArray[Any]]:
    """Return the vectors that take turns, [any, dim], by the name of the field."""
    fields = [field for field in fields if field["kind"] == "attributes"]
    if attributes is not None and len(fields) != 1:
        raise ValueError(f"this model has {'several vectors of' if fields else 'no'} attributes; leave them out")
    rows = {}
    for field in fields:
        (dim,) = field["shape"]
        values = _finite(field["examples"] or [[0.0] * dim])
        if isinstance(attributes, Mapping):
            names = [str(name) for name in field["names"] or range(dim)]
            for name, value in attributes.items():
                if str(name) not in names:
                    raise ValueError(f"this model has no attribute {name!r}; it has: {', '.join(names)}")
                values[:, names.index(str(name))] = _finite(value, ())
        elif attributes is not None:
            values = _finite(attributes, (dim,), (n, dim))
        rows[field["name"]] = values.reshape(-1, dim)
    return rows


def _finite(values: Any, *shapes: tuple[int, ...]) -> Floats:
    try:
        array = np.array(values, np.float64)
    except (TypeError, ValueError, OverflowError):
        raise ValueError("attributes are numbers, as many for every sample") from None
    if shapes and array.shape not in shapes:
        raise ValueError(f"such attributes have the shape {' or '.join(map(str, shapes))}, not {array.shape}")
    if not (np.abs(array) <= np.finfo(np.float32).max).all():
        raise ValueError("attributes are finite numbers that float32 can hold")
    return array.astype(np.float32)


def _check_labels(labels: NDArray[Any], classes: int) -> None:
    if (wrong := labels[(labels < 0) | (labels >= classes)]).size:
        raise ValueError(f"there is no class {wrong.flat[0]}: this model has the classes 0 .. {classes - 1}")


def _read(source: Source, name: str, limit: int) -> bytes:
    try:
        if (size := len(source) if isinstance(source, bytes) else Path(source).stat().st_size) > limit:
            raise ModelError(f"{name} has {size} bytes, more than the limit of {limit}")
        return source if isinstance(source, bytes) else Path(source).read_bytes()
    except OSError as error:
        raise ModelError(f"{source!s} cannot be read: {error.strerror or error}") from None


def _metadata(model: bytes, name: str) -> dict[str, Any]:
    """Find our document without handing the file to onnxruntime, which would do what a foreign file tells it to."""
    graph, text = False, None
    try:
        for number, part in _parts(memoryview(model)):
            if number == 7:  # the graph; 5 are its initialisers, and 13 in them says in which file their data is
                graph = True
                if any(key == 13 for tag, tensor in _parts(part) if tag == 5 for key, _ in _parts(tensor)):
                    raise ModelError(f"{name} keeps weights in another file, which a file of ganzoo's never does")
            elif number == 14 and bytes((entry := dict(_parts(part))).get(1, b"")) == b"ganzoo":
                text = bytes(entry.get(2, b""))  # metadata_props: 1 is the key, 2 the value
    except IndexError:
        graph = False
    if not graph:
        raise ModelError(f"{name} is not an ONNX file, or it is cut short")
    if text is None:
        raise ModelError(f"{name} has no ganzoo metadata: it was not exported by ganzoo")
    try:
        document: dict[str, Any] = json.loads(text)
        newer = document["schema"] > _SCHEMA
        fields = [] if newer else [*document["signature"]["inputs"], document["signature"]["output"]]
        valid = len(fields) > 1 and all(map(_valid, fields))
    except (KeyError, TypeError, ValueError, OverflowError, RecursionError):
        newer = valid = False
    if newer:
        raise ModelError(f"{name} is of schema {document['schema']}, this runtime reads {_SCHEMA}: update ganzoo")
    if not valid:
        raise ModelError(f"{name} has ganzoo metadata that cannot be read")
    return document


def _valid(field: dict[str, Any]) -> bool:
    label = field["kind"] == "label"
    sizes = [*field["shape"], *([field["classes"]] if label else [])]
    if field["kind"] == "attributes":
        (dim,), examples = field["shape"], field["examples"]
        if len(field["names"]) not in (0, dim) or (examples and _finite(examples).shape != (len(examples), dim)):
            return False
    low, high = field["range"] if field["kind"] == "image" else (0, 1)
    return (
        isinstance(field["name"], str)
        and field["dtype"] == ("int64" if label else "float32")
        and all(type(size) is int and size > 0 for size in sizes)
        and (field["kind"] != "latent" or field["distribution"] in ("normal", "uniform"))
        and bool(np.isfinite(high - low) and low < high)
    )


def _parts(message: memoryview) -> Iterator[tuple[int, memoryview]]:
    """Yield the number and content of each field of a protobuf message; IndexError where it is not one."""
    position = 0

    def varint() -> int:
        nonlocal position
        start, position = position, position + 1
        while message[position - 1] & 0x80 and position < start + 10:
            position += 1
        return sum((byte & 0x7F) << 7 * i for i, byte in enumerate(message[start:position]))

    while position < len(message):
        number, wire = divmod(varint(), 8)
        size = varint() if wire in (0, 2) else {1: 8, 5: 4}.get(wire, len(message))
        start, position = position, position + (0 if wire == 0 else size)
        if position > len(message):
            raise IndexError
        yield number, message[start:position]


@functools.cache
def _cuda_works() -> bool:
    """Ask the driver: onnxruntime lists CUDA whether or not it is there, and complains on stderr when it is used."""
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


def _session(source: Source, name: str, providers: Sequence[str] | None, threads: int | None) -> ort.InferenceSession:
    known = ort.get_available_providers()
    names = [each for each in providers or (_CUDA, _CPU) if each in known and (each != _CUDA or _cuda_works())]
    wanted = [(each, _OPTIONS.get(each, {})) for each in names]
    options = ort.SessionOptions()
    options.log_severity_level = 4  # what goes wrong is told by exceptions
    options.intra_op_num_threads = 0 if threads is None else _whole(threads, 1, "the number of threads")
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")  # spinning takes cores from the rest
    reason = f"{' and '.join(providers or names)} cannot be used here"
    for skip in range(len(wanted)):
        try:
            model = source if isinstance(source, bytes) else os.fspath(source)
            session = ort.InferenceSession(model, options, wanted[skip:], enable_fallback=0)
            if session.get_providers()[0] in names:
                return session
        except Exception as error:
            reason = " ".join(str(error).split())[:300]
    raise ModelError(f"{name} cannot be opened: {reason}")
