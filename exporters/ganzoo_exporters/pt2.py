"""Write a network as a program of ``torch.export`` and compare the file with torch before it gets its name."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from torch import fx

from ganzoo import GanzooError, Network
from ganzoo.files import atomic_path, temporary_path, writing
from ganzoo_exporters.document import complete, to_json
from ganzoo_exporters.parity import Reference
from ganzoo_exporters.program import exportable, failures, quiet

__all__ = ["METADATA", "TOLERANCE", "export"]

METADATA = "ganzoo.json"
"""The extra file in the archive that holds the metadata document."""

TOLERANCE = 1e-5
"""The largest difference to the network that passes, relative to the output's range."""


def export(network: Network, path: Path, metadata: Mapping[str, Any]) -> dict[str, Any]:
    """Write the network to ``path`` as one ``.pt2`` file, and return its metadata document.

    The file is what ``torch.export.save`` writes: the inputs in the signature's order, float32 or int64, a dynamic
    batch, and dynamic height and width of images that work in multiples. It is a float32 copy on the CPU in eval mode,
    with spectral norm and other parametrizations folded into the weights, and holds no pickled objects and no source
    paths. The document is that of :func:`ganzoo_exporters.export.export`, as JSON in the extra file :data:`METADATA`.

    Raises as :func:`ganzoo_exporters.export.export` does. No file is left then, and one that was there stays as it was.
    """
    document = complete(network.signature, metadata, precision="fp32", target="any")
    with atomic_path(path) as temporary, temporary_path(path, folder=True) as folder:
        file = Path(folder, path.name)
        with failures("the network cannot be exported"), torch.no_grad():
            reference = Reference(network)
            program = _program(reference)
            with writing(file, str(path)):
                torch.export.save(program, file)
            # Read back from disk and not taken from memory: what counts is what others will read.
            with quiet():
                module = torch.export.load(file).module()
            state = torch.get_rng_state()
            difference, batch = reference.difference(lambda *arrays: _apply(module, arrays))
            if not torch.equal(state, torch.get_rng_state()):
                raise GanzooError(
                    "the network cannot be exported: it draws random numbers inside, and a sample could not be "
                    "repeated; make the noise an input"
                )
        document["parity"] = reference.parity(difference, batch, TOLERANCE)
        with writing(file, str(path)):
            torch.export.save(program, file, extra_files={METADATA: to_json(document)})
        file.replace(temporary)
    written: dict[str, Any] = json.loads(to_json(document))
    return written


def _program(reference: Reference) -> torch.export.ExportedProgram:
    example = [torch.from_numpy(array) for array in reference.inputs[1]]
    module, arguments, shapes = exportable(reference.network, reference.network.signature, example)
    with quiet():
        program = torch.export.export(module, arguments, dynamic_shapes=shapes)
    for part in program.graph_module.modules():
        for node in part.graph.nodes if isinstance(part, fx.GraphModule) else ():
            node.meta.pop("stack_trace", None)  # paths and lines of the source
    program.example_inputs = None  # which would be pickled
    return program


def _apply(module: torch.nn.Module, arrays: tuple[NDArray[Any], ...]) -> NDArray[np.float32]:
    output: NDArray[np.float32] = module(*map(torch.from_numpy, arrays)).numpy()
    return output
