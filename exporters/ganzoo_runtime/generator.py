"""The generator of an exported file."""

from __future__ import annotations

import contextlib
import hashlib
import math
import os
import platform
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from functools import cache, cached_property, partial
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import onnxruntime as ort
from numpy.typing import NDArray

from .arrays import agree, check_arrays
from .batching import LARGE, Batching
from .binding import Binding, Bound, Graphs, Value, graph_options, length
from .cpu import for_cpu
from .errors import ModelError, OutOfMemory
from .fields import noise
from .file_checks import Source, read, read_model
from .inputs import TYPES
from .pipeline import pipelined
from .providers import DEVICES, PROFILE, PROVIDERS, TF32, Provider, cores, open_session, tensorrt_options
from .random_inputs import (
    GENERATOR,
    NO_STYLES,
    Drawing,
    Floats,
    Given,
    Labels,
    Texts,
    Truncation,
    Vectors,
    check_memory,
    draw_latents,
    draw_numbered,
    streams,
    whole,
)

__all__ = ["Batch", "Generator"]

_BATCH = "the batch size"
# What onnxruntime, CUDA, cuDNN and cuBLAS say where memory does not suffice.
_OUT_OF_MEMORY = ("Failed to allocate memory", "out of memory", "_ALLOC_FAILED", "bad allocation", "std::bad_alloc")
_SMALL = 1 << 20  # bytes of samples; what each thread may keep for its next request


class Batch(NamedTuple):
    """A piece of a stream: ``samples``, [N, ...], and by name the ``inputs`` they were drawn for, [N, ...] each."""

    samples: NDArray[Any]
    inputs: Mapping[str, NDArray[Any]]


class Generator:
    """A generator ready to draw. All methods may be called from several threads at once.

    ``source`` is the file, or its content. ``providers`` are onnxruntime's execution providers, best first, by its
    names or by ``"tensorrt"``, ``"cuda"``, ``"directml"``, ``"coreml"``, ``"cpu"``; a pair of a name and a mapping sets
    a provider's own options, such as ``("cuda", {"use_tf32": "1"})``. Those that do not work here are passed over, and
    :class:`ModelError` is raised if none is left. By default it is what ``GANZOO_PROVIDERS`` in the environment names,
    else all of them in this order. ``threads`` is the number of CPU threads, by default one per core; whoever needs
    more gives onnxruntime's ``session_options`` in their place. ``cuda_graphs`` are batch sizes for which a CUDA graph
    is captured, which takes the cost of launching out of small batches. ``tf32`` lets CUDA multiply with 10 bits of
    mantissa, which is faster for large batches and costs 1e-5 to 5e-3 of the range; by default it does if
    ``GANZOO_TF32`` in the environment is 1. A file of more than ``limit`` bytes is refused.

    ``metadata`` is the whole document, ``signature`` and ``directions`` parts of it; ``inputs``, in the order in which
    a call takes them, and ``output`` are names; ``provider``, alias ``device``, is what really runs, not only what was
    asked for.
    """

    def __init__(
        self,
        source: Source,
        *,
        providers: Sequence[Provider] | None = None,
        threads: int | None = None,
        session_options: ort.SessionOptions | None = None,
        cuda_graphs: Sequence[int] = (),
        tf32: bool | None = None,
        limit: int = 2**31,
    ) -> None:
        self._name = "the model" if isinstance(source, bytes) else Path(source).name
        folder = None if isinstance(source, bytes) else Path(source).resolve().parent
        content = read(source, self._name, limit)
        model = read_model(content, self._name, folder)
        self.metadata: Mapping[str, Any] = model.document
        self.signature = self.metadata["signature"]
        self.directions: Mapping[str, Mapping[str, Any]] = self.metadata.get("directions", {})
        self._fields: list[dict[str, Any]] = self.signature["inputs"]
        self.inputs = tuple(field["name"] for field in self._fields)
        means = self.metadata.get("latent_mean", {})
        self._means = {name: np.asarray(mean, np.float32) for name, mean in means.items()}
        digest = hashlib.blake2b(content, digest_size=16).hexdigest()
        cuda = {"use_tf32": "1"} if (os.environ.get(TF32) == "1" if tf32 is None else tf32) else {}
        if cuda_graphs:
            cuda["enable_cuda_graph"] = "1"
        # The session gets the bytes that were checked, not the path: the file may have been replaced since.
        fast = cache(lambda: for_cpu(model, winograd=platform.machine() in ("x86_64", "AMD64")) or content)
        self._open = partial(
            open_session,
            lambda provider: fast() if provider == PROVIDERS["cpu"] else content,
            self._name,
            folder,
            providers,
            defaults={PROVIDERS["cuda"]: cuda, PROVIDERS["tensorrt"]: tensorrt_options(self._fields, digest)},
        )
        self._session = self._open(threads, session_options)
        self.provider = self.device = self._session.get_providers()[0]
        found = [(node.name, node.type, node.shape) for node in self._session.get_inputs()]
        if not agree(found, self._fields):
            raise ModelError(f"{self._name} is inconsistent: the inputs of its graph are not those of its signature")
        outputs = [node.name for node in self._session.get_outputs()]
        self.output = outputs[0]
        styled = len(outputs) > 1 and any(field["kind"] == "truncation" for field in self._fields)
        self._styles = outputs[1] if styled else None
        output = self.signature["output"]
        self._dtype = np.dtype(output.get("dtype", "float32"))
        number = self._session.get_provider_options()[self.provider].get("device_id", "0")
        self._memory = (DEVICES.get(self.provider, "cpu"), int(number))
        self._graphs, self._options = None, None
        if cuda_graphs and self.provider == PROVIDERS["cuda"]:
            sizes = [whole(size, 1, "the batch size of a CUDA graph") for size in cuda_graphs]
            self._graphs = Graphs(self._session, (self.output, output["shape"], self._dtype), self._memory, sizes)
            self._options = graph_options(-1)
        # A CUDA graph has one set of buffers, and DirectML allows one run at a time: their runs must not overlap.
        alone = self._graphs is not None or self.provider == PROVIDERS["directml"]
        self._lock: contextlib.AbstractContextManager[Any] = threading.Lock() if alone else contextlib.nullcontext()
        self._on_device = self._memory[0] != "cpu"
        # The number of pieces of a large request that are computed at once: on the CPU one on each thread. With the
        # user's own session options the threads are not ours to divide. With CUDA one is copied while another is
        # computed, each on a stream of its own.
        self._abreast = 1
        if self.provider == PROVIDERS["cpu"] and session_options is None:
            self._abreast = threads or cores()
        elif self.provider == PROVIDERS["cuda"] and not alone:
            self._abreast = 2
        where = (self.provider, threads or os.cpu_count(), ort.__version__, platform.node())
        key = f"{digest} {' '.join(map(str, where))}"
        self._bytes = self._dtype.itemsize * math.prod(output["shape"])
        self._batching = Batching(key, self._bytes, self._abreast, on_device=self._on_device)
        self._kept = threading.local()
        self._from_noise = (
            [field["kind"] for field in self._fields] == ["latent"]
            and not self._on_device
            and not alone
            and self._session.get_outputs()[0].type == TYPES.get(self._dtype.name)
            and self.metadata.get("latent_generator", GENERATOR) == GENERATOR
        )

    def describe(self) -> str:
        """Return one line that says what runs it."""
        return f"onnxruntime {ort.__version__} on {self.provider}"

    def __call__(self, *arrays: Any) -> NDArray[Any]:
        """Apply the network to one batch: one array per input, in their order, each [N, ...].

        Arrays on the GPU, of any library that knows DLPack (torch, CuPy, JAX), are read where they are, whatever stream
        computes them; with TensorRT whoever makes them has to synchronize first. The sample is float32, or uint8 where
        the model was exported with pixels inside.
        """
        return self._run(check_arrays(self._fields, arrays), self._session)

    def on_device(self, *arrays: Any) -> ort.OrtValue:
        """Apply the network like a call, and leave the sample in the memory of the device that computed it.

        ``torch.from_dlpack(value)`` and the like take it without a copy. It is complete, and valid as long as it is
        held; from a CUDA graph until the next run of the same batch size.
        """
        return self._run_bound(check_arrays(self._fields, arrays))

    def latents(
        self, n: int | Sequence[int], seed: int = 0, name: str | None = None, *, truncation: Truncation = None
    ) -> Floats:
        """Return the latents of ``n`` samples, float32 [n, *shape]: those that :meth:`sample` uses for this seed.

        The procedure: ``numpy.random.Generator(numpy.random.Philox(seed))``, and from it ``standard_normal((n, *shape),
        dtype=float32)`` or, for ``"uniform"``, ``random((n, *shape), dtype=float32) * 2 - 1``. The numbers are consumed
        one after another in row-major order, so drawing in pieces gives the same, and fewer samples are a prefix of
        more. Nothing but latents is drawn. Should a model have further ones, number ``i = 1, 2 ...`` in the order of
        the inputs has ``Philox(seed).jumped(i)``. ``name`` picks one of them, by default the first.

        In place of how many, ``n`` may be the numbers of the samples that are wanted, in memory for them alone; a
        ValueError refuses those that have more than a billion random numbers before them, which are drawn too.
        """
        self._check_source()
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
    ) -> Floats:
        """Return the styles of ``n`` samples of a style-based model, float32 [n, L, D]: one w for each layer.

        They are those that :meth:`sample` draws from for the same arguments, and go into it as ``latents={"w":
        styles}``, mixed and moved at will. In place of how many, ``n`` may be the numbers of the samples that are
        wanted. Raises ValueError for a model without styles.
        """
        if self._styles is None:
            raise ValueError(NO_STYLES)
        self._check_source()
        asked: dict[str, Any] = {"label": label, "attributes": attributes, "text": text, "truncation": truncation}
        inputs = draw_numbered(self._fields, n, seed, means=self._means, **asked)
        options = ort.RunOptions() if self._options is None else graph_options(-1)
        options.only_execute_path_to_fetches = True  # which are before the images
        parts, rows = list[Floats](), length(next(iter(inputs.values())))
        try:
            with self._lock:
                for start in range(0, rows, LARGE):
                    feed = {name: values[start : start + LARGE] for name, values in inputs.items()}
                    parts.append(np.asarray(self._session.run([self._styles], feed, options)[0], np.float32))
        except Exception as error:
            raise self._failed(error) from None
        return np.concatenate(parts)

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
        batch: int | None = None,
    ) -> NDArray[Any]:
        """Draw ``n`` samples, [n, ...] in the signature's range; the same seed gives the same latents.

        ``label`` is a class for all samples or one for each; of a model with several labels, a mapping from names of
        labels to such. A class is a whole number, its index from 0 whatever the classes are called, or a text, its name
        as on the command line. Labels that are left out, or ``"all"``, take all their combinations in turn, the first
        one changing fastest: sample ``i`` is of class ``i % c1`` of the first, ``i // c1 % c2`` of the second, and so
        on. ``attributes`` is a vector for all samples, [dim], or one for each, [n, dim]; or a mapping from names of
        attributes (their indices if they have no names) to numbers, which take the place of these entries of the
        signature's examples. The examples, zeros if there are none, take turns. ``text`` is a caption for a model that
        takes one, or several, which take turns, as its examples do if it is left out; words that the model does not
        know are refused. ``truncation`` makes samples more typical and less varied: it multiplies the distance of the
        latents from their mean, 0 unless the metadata say otherwise; of latents whose field says ``"resampled"`` it is
        the threshold that all numbers are within, as :func:`truncated_normal` moves them. Of a style-based model it
        moves the styles in place of the latents; a list of numbers moves as many of them, from the coarsest on.
        ``latents`` are used as they are in place of drawn ones: one for all samples, [*shape], or one for each,
        [n, *shape], of the first latent; or a mapping from names of latents, and of styles, to such. ``batch`` samples
        are computed at a time, by default as many as is fastest; it changes speed and memory, not the latents.

        Raises ValueError, before anything is computed, for what this model cannot be asked, and for a model that takes
        images: call it with arrays.
        """
        asks = label is not None or attributes is not None or text is not None or latents is not None
        plain = self._from_noise and not asks and truncation is None
        if plain and type(n) is int and 0 < n * self._bytes <= _SMALL and self._batch(batch, n, n) == n:
            return self._small(n, seed)
        asked: dict[str, Any] = {"label": label, "attributes": attributes, "text": text}
        asked |= {"truncation": truncation, "latents": latents}
        drawing = self._drawing(n, seed, **asked)
        check_memory(drawing.n, self._bytes)
        pieces, n = self._pieces(drawing, batch), drawing.n
        first = next(pieces).samples
        if len(first) == n:
            return first
        samples, size = np.empty((n, *first.shape[1:]), first.dtype), len(first)
        samples[:size] = first
        for piece, _ in pieces:
            samples[size : size + len(piece)] = piece
            size += len(piece)
        return samples

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
        batch: int | None = None,
    ) -> Iterator[Batch]:
        """Yield what :meth:`sample` returns a piece at a time, with its inputs, in constant memory."""
        asked: dict[str, Any] = {"label": label, "attributes": attributes, "text": text}
        asked |= {"truncation": truncation, "latents": latents}
        batch = batch if batch is None else whole(batch, 1, _BATCH)
        return self._pieces(self._drawing(n, seed, **asked), batch)

    def _small(self, n: int, seed: int) -> NDArray[Any]:
        """Return what :meth:`sample` returns, with little Python code: a small network takes no longer than that."""
        (field,) = self._fields
        (random,) = streams(seed)
        feed = {field["name"]: noise(random, field, n)}
        bound = getattr(self._kept, "bound", None)
        try:
            if bound is None or bound.size != n:
                output = (self.output, self.signature["output"]["shape"], self._dtype)
                bound = self._kept.bound = Bound(self._session, feed, output, self._memory)
            # Copied, since the array is a view of the bound buffer, which the next call on this thread overwrites.
            samples: NDArray[Any] = bound.run(feed).numpy().copy()
            return samples
        except Exception as error:
            raise self._failed(error) from None

    def _pieces(self, drawing: Drawing, batch: int | None) -> Iterator[Batch]:
        """Compute the samples of all that is drawn, a piece after another.

        Of a large request on the CPU each thread computes a piece of its own: if all work on one piece, they wait for
        each other after every operator. Another device never waits: while it computes, the next piece is drawn and the
        last one is used by the caller.
        """
        sizes = self._sizes(drawing.n, batch)
        if drawing.n < LARGE or (not self._on_device and (self._abreast == 1 or batch is not None)):
            for size in sizes:
                yield self._piece(self._session, drawing.take(size), learn=self._abreast == 1)
            return
        session = self._session if self._on_device else self._one_thread
        yield from pipelined(sizes, drawing.take, partial(self._piece, session), self._abreast)

    def _sizes(self, n: int, batch: int | None) -> Iterator[int]:
        left = n
        while left:
            yield (size := self._batch(batch, left, n))
            left -= size

    @cached_property
    def _one_thread(self) -> ort.InferenceSession:
        return self._open(1)

    def _piece(self, session: ort.InferenceSession, feed: Mapping[str, NDArray[Any]], *, learn: bool = True) -> Batch:
        """Compute a piece, in halves if memory does not suffice, and record its time where it is that of many."""
        start, size = time.perf_counter(), length(next(iter(feed.values())))
        try:
            samples = self._run(feed, session)
        except OutOfMemory:
            if size == 1:
                raise
            self._batching.exclude(size)
            parts = (slice(None, size // 2), slice(size // 2, None))
            halves = ({name: values[part] for name, values in feed.items()} for part in parts)
            return Batch(np.concatenate([self._piece(session, half, learn=learn).samples for half in halves]), feed)
        if learn:
            self._batching.record(size, time.perf_counter() - start)
        return Batch(samples, feed)

    def _drawing(self, n: int, seed: int, **asked: Any) -> Drawing:
        self._check_source()
        return Drawing(self._fields, n, seed, means=self._means, **asked)

    def _check_source(self) -> None:
        if (generator := self.metadata.get("latent_generator", GENERATOR)) != GENERATOR:
            raise ValueError(f"this model's latents come from {generator}, which this runtime does not know: update it")

    def _batch(self, asked: int | None, left: int, n: int) -> int:
        """Return how many to compute next of a request for ``n``, of which so many are left."""
        tensorrt = self.provider == PROVIDERS["tensorrt"]
        if asked is not None:
            return min(whole(asked, 1, _BATCH), left, PROFILE if tensorrt else left)
        if self._graphs is not None:
            return min(max(self._graphs.sizes), left)
        # The sizes that TensorRT's engines are for: none is to be built only to find another one.
        return min(PROFILE // 4, left) if tensorrt else self._batching.next(left, n)

    def _run(self, feed: Mapping[str, Value], session: ort.InferenceSession) -> NDArray[Any]:
        if self._graphs is not None or any(isinstance(value, ort.OrtValue) for value in feed.values()):
            return np.asarray(self._run_bound(feed).numpy(), self._dtype)
        try:
            with self._lock:
                return np.asarray(session.run([self.output], feed, self._options)[0], self._dtype)
        except Exception as error:
            raise self._failed(error) from None

    def _run_bound(self, feed: Mapping[str, Value]) -> ort.OrtValue:
        """Run where the inputs are, and leave the output there."""
        try:
            with self._lock:
                if self._graphs is not None and length(next(iter(feed.values()))) in self._graphs.sizes:
                    return self._graphs.run(feed)
                # One for each thread: with one for all, threads would wait for each other.
                if (binding := getattr(self._kept, "binding", None)) is None:
                    binding = self._kept.binding = Binding(self._session, self.output, self._memory, self._options)
                return binding.run(feed)
        except Exception as error:
            raise self._failed(error) from None

    def _failed(self, error: Exception) -> ModelError:
        kind = OutOfMemory if any(words in str(error) for words in _OUT_OF_MEMORY) else ModelError
        return kind(f"{self._name} cannot be run: {' '.join(str(error).split())[:300]}")
