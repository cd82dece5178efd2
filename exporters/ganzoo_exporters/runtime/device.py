"""Runs that leave their output where it was computed, and CUDA graphs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnxruntime as ort

__all__ = ["Device", "Graphs", "Value", "run_bound"]

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


class Graphs:
    """One CUDA graph for each of the batch ``sizes``: a whole run is a single launch.

    A graph reads and writes at fixed addresses. So its inputs are copied to their places, and its output is overwritten
    by the next run of that size. onnxruntime captures a graph on the first run of its id. Not for several threads at
    once.
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
        self._bound: dict[int, tuple[Any, dict[str, ort.OrtValue], ort.OrtValue, ort.RunOptions]] = {}

    def run(self, feed: Mapping[str, Value]) -> ort.OrtValue:
        """Run on inputs whose batch is one of the sizes; the output is valid until the next run of that size."""
        size = _length(next(iter(feed.values())))
        if size not in self._bound:
            self._bound[size] = self._bind(feed, size)
        binding, inputs, output, options = self._bound[size]
        for name, value in feed.items():
            inputs[name].update_inplace(value)
        self._session.run_with_iobinding(binding, options)
        return output

    def _bind(self, feed: Mapping[str, Value], size: int) -> Any:
        binding = self._session.io_binding()
        inputs = {}
        for name, value in feed.items():
            array = value if isinstance(value, np.ndarray) else value.numpy()
            # a copy of its own: memory of the CPU would be shared with the caller's array
            inputs[name] = ort.OrtValue.ortvalue_from_numpy(array.copy(), *self._device)
            binding.bind_ortvalue_input(name, inputs[name])
        name, shape, dtype = self._output
        output = ort.OrtValue.ortvalue_from_shape_and_type([size, *shape], dtype, *self._device)
        binding.bind_ortvalue_output(name, output)
        return binding, inputs, output, graph_options(len(self._bound) + 1)


def graph_options(number: int) -> ort.RunOptions:
    """Return the options of a run that captures or replays the graph with this number; -1 does neither."""
    options = ort.RunOptions()
    options.add_run_config_entry("gpu_graph_id", str(number))
    return options


def _length(value: Value) -> int:
    return int(value.shape()[0] if isinstance(value, ort.OrtValue) else value.shape[0])
