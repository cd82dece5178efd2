"""Runs that leave their output where it was computed, and CUDA graphs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import onnxruntime as ort

__all__ = ["Binding", "Bound", "Device", "Graphs", "Value", "graph_options", "length"]

Device = tuple[str, int]
"""What onnxruntime calls a kind of memory, and the number of the device: ``("cuda", 0)``."""

Value = Any
"""An array of NumPy, or onnxruntime's OrtValue, which has no types."""


class Binding:
    """Runs whose output stays where it was computed, through one binding that is made once.

    Each output has memory of its own and is valid as long as it is held. A run waits for all work of the device that
    has been launched, on whatever stream, and its output is complete when it returns: neither whoever made the inputs
    nor whoever reads outputs has to synchronize. Not for several threads at once.
    """

    def __init__(
        self, session: ort.InferenceSession, output: str, device: Device, options: ort.RunOptions | None = None
    ) -> None:
        self._session, self._output, self._device, self._options = session, output, device, options
        self._binding = session.io_binding()

    def run(self, feed: Mapping[str, Value]) -> ort.OrtValue:
        """Run the session once, on a batch of any size."""
        binding = self._binding
        try:
            for name, value in feed.items():
                # not bind_cpu_input, which keeps the array until the next one of that name
                on_cpu = isinstance(value, np.ndarray)
                binding.bind_ortvalue_input(name, ort.OrtValue.ortvalue_from_numpy(value) if on_cpu else value)
            binding.bind_output(self._output, *self._device)  # anew: a run would write to the output of the last one
            # onnxruntime computes on a stream of its own, which waits for no other. Inputs may still be computed, and
            # memory that it takes for the output may have been that of one that is still read.
            binding.synchronize_inputs()
            self._session.run_with_iobinding(binding, self._options)
            return binding.get_outputs()[0]
        finally:
            # The binding holds no memory between runs, neither the caller's nor that of outputs.
            binding.clear_binding_inputs()
            binding.clear_binding_outputs()


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
        shared = any(isinstance(value, ort.OrtValue) for value in feed.values())
        if shared:  # it may still be computed, on a stream that the copy does not wait for
            self._binding.synchronize_inputs()
        for name, value in feed.items():
            self._inputs[name].update_inplace(value)
        if shared:  # nor does onnxruntime's stream wait for a copy from device to device
            self._binding.synchronize_inputs()
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
        size = length(next(iter(feed.values())))
        if size not in self._bound:
            options = graph_options(len(self._bound) + 1)
            self._bound[size] = Bound(self._session, feed, self._output, self._device, options)
        return self._bound[size].run(feed)


def graph_options(number: int) -> ort.RunOptions:
    """Return the options of a run that captures or replays the graph with this number; -1 does neither."""
    options = ort.RunOptions()
    options.add_run_config_entry("gpu_graph_id", str(number))
    return options


def length(value: Value) -> int:
    """Return how many samples a value has."""
    return int(value.shape()[0] if isinstance(value, ort.OrtValue) else value.shape[0])
