"""Writes samples as comma-separated values: a row each, first what it was drawn for, then its numbers."""

import csv
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import Any

from ganzoo import files


def example_key(
    path: Path, pieces: Iterable[tuple[Any, Mapping[str, Any]]], n: int, signature: Mapping[str, Any]
) -> Path:
    """Write ``n`` samples to ``path`` and return it.

    ``pieces`` come one after another, so that any number of samples fits into memory: arrays [N, ...] with the inputs
    that they were drawn for, [N, ...] by name. ``signature`` says as JSON what the model takes and draws.
    """
    latents = {field["name"] for field in signature["inputs"] if field["kind"] == "latent"}
    # The file gets its name when it is complete; after a failure there is none.
    with files.atomic_path(path) as temporary, temporary.open("w", newline="", encoding="utf-8") as file:
        writer = csv.writer(file)
        for number, (samples, inputs) in enumerate(pieces):
            flat = samples.reshape(len(samples), -1)
            given = {name: values.reshape(len(samples), -1) for name, values in inputs.items() if name not in latents}
            if number == 0:
                columns = {**given, signature["output"]["name"]: flat}
                writer.writerow(f"{name}_{i}" for name, values in columns.items() for i in range(values.shape[1]))
            for row in range(len(samples)):
                writer.writerow([*(value for values in given.values() for value in values[row]), *flat[row]])
    return path
