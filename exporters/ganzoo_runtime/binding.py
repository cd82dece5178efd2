"""Runs that leave their output where it was computed, and CUDA graphs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnxruntime as ort

__all__ = ["Bound", "Device", "Graphs", "Value", "run_bound"]

Device = tuple[str, int]
"""What onnxruntime calls a kind of memory, and the number of the device: ``("cuda", 0)``."""

Value = Any
"""An array of NumPy, or onnxruntime's OrtValue, which has no types."""


def run_bound(
    session: ort.InferenceSession,
    feed: Mapping[str, Value],
    output: str,
    device: Device,
    options: ort.RunOptions | None,
) -> ort.OrtValue:
    """Run the session once and return its output in the memory of the device, when it is complete."""
    binding = session.io_binding()
    for name, value in feed.items():
        if isinstance(value, ort.OrtValue):
            binding.bind_ortvalue_input(name, value)
        else:
            binding.bind_cpu_input(name, value)
    binding.bind_output(output, *device)
    session.run_with_iobinding(binding, options)
    binding.synchronize_outputs()
    return binding.get_outputs()[0]


class Bound:
    """Runs of one batch size on buffers of their own: small runs are faster, since nothing is allocated or looked up.

    The output is overwritten by the next run. Not for several threads at once.
    """

    def __init__(
        self,
        session: ort.InferenceSession,
        feed: Mapping[str, Value],
        output: tuple[str, Sequence[int], Any],
        device: Device,
        options: ort.RunOptions | None = None,
    ) -> None:
        self._session, self._options = session, options
        self._binding = session.io_binding()
        self._inputs = {}
        for name, value in feed.items():
            array = value if isinstance(value, np.ndarray) else value.numpy()
            # a copy of its own: memory of the CPU would be shared with the caller's array
            self._inputs[name] = ort.OrtValue.ortvalue_from_numpy(array.copy(), *device)
            self._binding.bind_ortvalue_input(name, self._inputs[name])
        name, shape, dtype = output
        self.size = len(array)
        self._output = ort.OrtValue.ortvalue_from_shape_and_type([self.size, *shape], dtype, *device)
        self._binding.bind_ortvalue_output(name, self._output)

    def run(self, feed: Mapping[str, Value]) -> ort.OrtValue:
        """Run on inputs of the same shapes; the output is valid until the next run."""
        for name, value in feed.items():
            self._inputs[name].update_inplace(value)
        self._session.run_with_iobinding(self._binding, self._options)
        return self._output


class Graphs:
    """One CUDA graph for each of the batch ``sizes``: a whole run is a single launch.

    A graph reads and writes at fixed addresses. onnxruntime captures it on the first run of its id. Not for several
    threads at once.
    """

    def __init__(
        self,
        session: ort.InferenceSession,
        output: tuple[str, Sequence[int], Any],
        device: Device,
        sizes: Sequence[int],
    ) -> None:
        self._session, self._output, self._device = session, output, device
        self.sizes = tuple(sizes)
        self._bound: dict[int, Bound] = {}

    def run(self, feed: Mapping[str, Value]) -> ort.OrtValue:
        """Run on inputs whose batch is one of the sizes; the output is valid until the next run of that size."""
        size = _length(next(iter(feed.values())))
        if size not in self._bound:
            options = graph_options(len(self._bound) + 1)
            self._bound[size] = Bound(self._session, feed, self._output, self._device, options)
        return self._bound[size].run(feed)


def graph_options(number: int) -> ort.RunOptions:
    """Return the options of a run that captures or replays the graph with this number; -1 does neither."""
    options = ort.RunOptions()
    options.add_run_config_entry("gpu_graph_id", str(number))
    return options


def _length(value: Value) -> int:
    return int(value.shape()[0] if isinstance(value, ort.OrtValue) else value.shape[0])
