"""Checkpoints: everything between two steps, on disk, complete or not there at all.

A checkpoint is a folder ``step-000500`` with

    networks.safetensors    the networks' weights and buffers
    ema.safetensors         the averaged networks
    state.pt                optimizers, trainer state, random states, stream position (plain tensors and numbers,
                            read with ``weights_only=True``)
    checkpoint.json         step, format and the SHA-256 of the files above

It is written under another name, fsynced, and renamed; then ``last``, a file with its name, is replaced; only then
are old ones deleted. So after a crash at any moment ``last`` names a complete checkpoint.
"""

import hashlib
import json
import os
import random
import re
import shutil
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from ganzoo.errors import UserError
from ganzoo.files import fsync_folder, open_regular, read_bytes, read_json, write_atomic
from ganzoo.state import conformed

__all__ = ["latest", "load_networks", "load_state", "random_state", "restore_random_state", "save", "seed_random"]

FORMAT = 1
_FILES = ("networks.safetensors", "ema.safetensors", "state.pt")


def save(
    folder: Path,
    step: int,
    networks: Mapping[str, nn.Module],
    ema: Mapping[str, nn.Module],
    state: Mapping[str, Any],
    keep: int,
) -> Path:
    """Write checkpoint ``step`` into the folder of checkpoints, then delete all but the ``keep`` newest.

    Raises :class:`UserError` if the disk is full or the folder cannot be written; what was there stays.
    """
    path = folder / f"step-{step:06d}"
    temporary = folder / f".{path.name}.tmp"
    try:
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        save_file(_flatten(networks), temporary / "networks.safetensors")
        save_file(_flatten(ema), temporary / "ema.safetensors")
        torch.save(dict(state), temporary / "state.pt")
        manifest = {"format": FORMAT, "step": step, "sha256": {name: _sha256(temporary / name) for name in _FILES}}
        (temporary / "checkpoint.json").write_text(json.dumps(manifest, indent=2) + "\n")
        for file in temporary.iterdir():
            with file.open("rb+") as handle:
                os.fsync(handle.fileno())
        fsync_folder(temporary)
        # A folder of this name is either the same step written before an interrupted resume, or a leftover.
        shutil.rmtree(path, ignore_errors=True)
        temporary.rename(path)
        fsync_folder(folder)
        write_atomic(folder / "last", path.name + "\n")
    except OSError as error:
        raise UserError(f"cannot write the checkpoint {path}: {error.strerror or error}") from None
    for old in sorted(folder.glob("step-*"))[:-keep]:
        if old != path:
            shutil.rmtree(old, ignore_errors=True)
    return path


def latest(folder: Path) -> Path:
    """Return the newest complete checkpoint of the folder; raises :class:`UserError` if there is none."""
    pointer = folder / "last"
    if not pointer.exists():
        raise UserError(
            f"{folder.parent} has no complete checkpoint yet; start again with: "
            f"ganzoo train --config {folder.parent / 'config.toml'}"
        )
    name = read_bytes(pointer, 2**16).decode(errors="replace").strip()
    path = folder / name
    if not re.fullmatch(r"step-[0-9]{1,18}", name) or not path.is_dir():
        raise UserError(f"{pointer} names {name[:80]!r}, which is no checkpoint of this run")
    return path


def load_networks(path: Path, networks: Mapping[str, nn.Module], which: str = "networks") -> None:
    """Load the weights of a checkpoint, ``"networks"`` or ``"ema"``, into modules of the same names.

    Raises :class:`UserError` if the checkpoint is truncated, tampered with, or of other networks.
    """
    _verify(path)
    try:
        tensors = load_file(path / f"{which}.safetensors")
        for name, network in networks.items():
            prefix = f"{name}."
            own = {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}
            network.load_state_dict(conformed(own, network.state_dict(), name))
    except (RuntimeError, ValueError, SafetensorError) as error:
        reason = " ".join(str(error).split())
        raise UserError(f"the checkpoint {path} does not fit this model: {reason[:300]}") from None


def load_state(path: Path) -> tuple[int, dict[str, Any]]:
    """Return the step and the state of a checkpoint; raises :class:`UserError` if it is damaged."""
    manifest = _verify(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's remarks on tensors that no checkpoint of ours holds
            state: dict[str, Any] = torch.load(path / "state.pt", map_location="cpu", weights_only=True)
        return int(manifest["step"]), state
    except Exception:  # what the unpickler stumbles over; torch's text would advise to load it unchecked
        reason = "state.pt is cut short, or holds something else than tensors and plain values"
        raise UserError(f"the checkpoint {path} is damaged: {reason}") from None


def seed_random(seed: int) -> None:
    """Seed every global random generator: torch's on each device, NumPy's and Python's."""
    torch.manual_seed(seed)
    np.random.seed(seed % 2**32)
    random.seed(seed)


def random_state() -> dict[str, Any]:
    """Return the state of every global random generator: torch's on each device, NumPy's and Python's."""
    name, keys, position, has_gauss, gauss = np.random.get_state(legacy=True)
    return {
        "torch": torch.get_rng_state(),
        "cuda": torch.cuda.get_rng_state_all() if torch.cuda.is_available() else [],
        "numpy": [name, torch.from_numpy(np.asarray(keys).astype(np.int64)), position, has_gauss, gauss],
        "python": random.getstate(),
    }


def restore_random_state(state: Mapping[str, Any]) -> None:
    """Take back what :func:`random_state` returned."""
    torch.set_rng_state(state["torch"])
    if state["cuda"] and len(state["cuda"]) == torch.cuda.device_count():
        torch.cuda.set_rng_state_all(state["cuda"])
    name, keys, position, has_gauss, gauss = state["numpy"]
    if not 0 <= position <= len(keys):  # NumPy believes it, and would read there
        raise ValueError("random.numpy is no state of a generator")
    np.random.set_state((name, keys.numpy().astype(np.uint32), position, has_gauss, gauss))
    version, internal, following = state["python"]
    random.setstate((version, tuple(internal), following))


def _verify(path: Path) -> dict[str, Any]:
    """Check every file of a checkpoint against its manifest, and return that."""
    try:
        manifest: dict[str, Any] = read_json(path / "checkpoint.json")
        newer = manifest["format"] > FORMAT
        wrong = [] if newer else [name for name in _FILES if _sha256(path / name) != manifest["sha256"][name]]
        if not newer and f"step-{manifest['step']:06d}" != path.name:
            wrong.append("checkpoint.json")
    except (UserError, OSError, ValueError, KeyError, TypeError) as error:
        raise UserError(f"the checkpoint {path} is damaged: {error}") from None
    if newer:
        raise UserError(f"the checkpoint {path} was written by a newer ganzoo; update with pip install -U")
    if wrong:
        raise UserError(f"the checkpoint {path} is damaged: {wrong[0]} is not what was written")
    return manifest


def _flatten(networks: Mapping[str, nn.Module]) -> dict[str, Tensor]:
    return {
        f"{name}.{key}": value.detach().clone(memory_format=torch.contiguous_format)  # tied weights too
        for name, network in networks.items()
        for key, value in network.state_dict().items()
    }


def _sha256(path: Path) -> str:
    with open_regular(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
