"""Checkpoints: the whole state of a training between two steps, written completely or not at all.

A checkpoint is a folder ``step-000500`` with

    networks.safetensors    the networks' weights and buffers
    ema.safetensors         the averaged networks
    state.pt                optimizers, trainer state, random states, stream position (plain tensors and numbers,
                            read with ``weights_only=True``)
    checkpoint.json         step, format and the SHA-256 of the files above

It is written under another name, fsynced and renamed. Then ``last``, a file with its name, is replaced. Only then are
old ones deleted. So after a crash at any moment ``last`` names a complete checkpoint. Checkpoints are ordered by their
number and not by their name: step 1,000,000 comes after step 999,000. With the setting ``keep_best`` a file ``best``
names the best one, which is kept as long as it is that.
"""

import hashlib
import json
import random
import re
import warnings
from collections.abc import Collection, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Any

import numpy as np
import torch
from safetensors import SafetensorError
from safetensors.torch import load_file, save_file
from torch import Tensor, nn

from ganzoo.errors import UserError
from ganzoo.files import atomic_folder, open_regular, read_bytes, read_json, remove, write_atomic
from ganzoo.runs.state_checks import conformed

__all__ = [
    "best",
    "digest",
    "find",
    "latest",
    "load_networks",
    "load_state",
    "load_tensors",
    "random_state",
    "restore_random_state",
    "save",
    "seed_random",
    "steps",
]

FORMAT = 1
_FILES = ("networks.safetensors", "ema.safetensors", "state.pt")
_NAME = re.compile(r"step-[0-9]{1,18}")


def save(
    folder: Path,
    step: int,
    networks: Mapping[str, nn.Module],
    ema: Mapping[str, nn.Module],
    state: Mapping[str, Any],
    keep: int,
    stale: Collection[Path] = (),
    best: int | None = None,
) -> Path:
    """Write checkpoint ``step`` into the folder of checkpoints, then delete all but the ``keep`` newest.

    That of the step ``best`` is kept too, and the file ``best`` names it; without one there is no such file.
    ``stale`` are checkpoints of a training that was given up for this one: they are deleted then, whatever their step.
    Raises :class:`UserError` if the disk is full or the folder cannot be written; what was there stays.
    """
    path, pointer = folder / f"step-{step:06d}", folder / "last"
    before = [each for number, each in steps(folder).items() if number < step and each not in stale]
    with atomic_folder(path, f"the checkpoint {path}") as temporary:
        save_file(_flatten(networks), temporary / "networks.safetensors")
        save_file(_flatten(ema), temporary / "ema.safetensors")
        with (temporary / "state.pt").open("wb") as file:  # given a path, torch would not tell why it cannot write
            torch.save(dict(state), file)
        # Hashed from the files as written, so that load_state() also notices a disk that has changed them since.
        manifest = {"format": FORMAT, "step": step, "sha256": {name: _sha256(temporary / name) for name in _FILES}}
        (temporary / "checkpoint.json").write_text(json.dumps(manifest, indent=2) + "\n", encoding="utf-8")
        if before and path.is_dir() and pointer.is_file() and read_bytes(pointer).split() == [path.name.encode()]:
            # An abandoned training has written a checkpoint of this step too, and ``last`` names it. A folder cannot be
            # replaced in one operation: between removing the old and renaming the new one, a crash would leave ``last``
            # without its folder. So ``last`` first goes back to the checkpoint that this training came from.
            write_atomic(pointer, before[-1].name + "\n")
    # From here on the new checkpoint counts. Deleting first could leave no checkpoint at all after a crash.
    write_atomic(pointer, path.name + "\n")
    kept, favorite = {path}, folder / "best"
    if best is not None:
        kept.add(folder / f"step-{best:06d}")
        write_atomic(favorite, f"step-{best:06d}\n")
    elif favorite.exists():
        remove(favorite)
    for old in (*before[: max(len(before) + 1 - keep, 0)], *stale):
        if old not in kept:
            remove(old)
    return path


def steps(folder: Path) -> dict[int, Path]:
    """Return the checkpoints of the folder by their step, in ascending order; they are not checked."""
    paths = [path for path in folder.glob("step-*") if _NAME.fullmatch(path.name) and path.is_dir()]
    return dict(sorted((int(path.name.removeprefix("step-")), path) for path in paths))


def latest(folder: Path) -> Path:
    """Return the newest complete checkpoint of the folder, which ``last`` names.

    Raises :class:`UserError` if there is none; it names those that are intact nevertheless.
    """
    pointer = folder / "last"
    if not pointer.exists():
        others = _intact(folder)
        raise UserError(
            f"{pointer} is missing{others}"
            if others
            else f"{folder.parent} has no complete checkpoint yet; start again with: "
            f"ganzoo train --config {folder.parent / 'config.toml'}"
        )
    try:
        name = read_bytes(pointer).decode(errors="replace").strip()
    except UserError as error:
        raise UserError(f"{error}{_intact(folder)}") from None
    path = folder / name
    if not _NAME.fullmatch(name) or not path.is_dir():
        if pointer.exists() and read_bytes(pointer).decode(errors="replace").strip() != name:
            return latest(folder)  # a training has replaced ``last`` meanwhile, and deleted the checkpoint it named
        raise UserError(f"{pointer} names {name[:80]!r}, which is no checkpoint of this run{_intact(folder)}")
    return path


def best(folder: Path) -> Path:
    """Return the checkpoint that was the best by the setting ``keep_best``; raises :class:`UserError` without one."""
    pointer = folder / "best"
    if not pointer.is_file():
        raise UserError(f"{folder.parent} has no best checkpoint; train with --set keep_best=METRIC to keep one")
    name = read_bytes(pointer).decode(errors="replace").strip()
    path = folder / name
    if not _NAME.fullmatch(name) or not path.is_dir():
        if pointer.is_file() and read_bytes(pointer).decode(errors="replace").strip() != name:
            return best(folder)  # a training has found a better one meanwhile
        raise UserError(f"{pointer} names {name[:80]!r}, which is no checkpoint of this run")
    return path


def find(folder: Path, step: int) -> Path:
    """Return the checkpoint of that step; raises :class:`UserError` if there is none."""
    found = steps(folder)
    if step not in found:
        known = f"there is: {', '.join(map(str, found))}" if found else "there is none yet"
        raise UserError(f"{folder.parent} has no checkpoint of step {step}; {known}")
    return found[step]


def load_networks(path: Path, networks: Mapping[str, nn.Module], which: str = "networks") -> None:
    """Load the weights of a checkpoint, ``"networks"`` or ``"ema"``, into modules of the same names.

    Raises :class:`UserError` if the checkpoint is truncated, tampered with, or of other networks.
    """
    tensors = load_tensors(path, which)
    try:
        for name, network in networks.items():
            prefix = f"{name}."
            own = {key.removeprefix(prefix): value for key, value in tensors.items() if key.startswith(prefix)}
            network.load_state_dict(conformed(own, network.state_dict(), name))
    except (RuntimeError, ValueError) as error:
        raise _unfit(path, error) from None


def load_tensors(path: Path, which: str = "networks") -> dict[str, Tensor]:
    """Return the weights of a checkpoint, ``"networks"`` or ``"ema"``, by ``network.name``, wherever they belong.

    Raises :class:`UserError` if the checkpoint is damaged.
    """
    _verify(path)
    try:
        return load_file(path / f"{which}.safetensors")
    except (RuntimeError, ValueError, SafetensorError) as error:
        raise _unfit(path, error) from None


def digest(path: Path) -> str:
    """Return the SHA-256 of a checkpoint's averaged networks; raises :class:`UserError` if it is damaged."""
    return str(_verify(path)["sha256"]["ema.safetensors"])


def _unfit(path: Path, error: Exception) -> UserError:
    reason = " ".join(str(error).split())
    return UserError(f"the checkpoint {path} does not fit this model: {reason[:300]}")


def load_state(path: Path) -> tuple[int, dict[str, Any]]:
    """Return the step and the state of a checkpoint; raises :class:`UserError` if it is damaged."""
    manifest = _verify(path)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # torch's remarks on tensors that no checkpoint of ours holds
            state: dict[str, Any] = torch.load(path / "state.pt", map_location="cpu", weights_only=True)
        return int(manifest["step"]), state
    except Exception:  # whatever the unpickler raises; torch's own message would advise to load the file unchecked
        reason = "state.pt is cut short, or holds something else than tensors and plain values"
        raise _damaged(path, reason) from None


def seed_random(seed: int) -> None:
    """Seed every global random generator: torch's on each device, NumPy's and Python's."""
    torch.manual_seed(seed)
    np.random.seed(seed % 2**32)
    random.seed(seed)


def random_state(device: torch.device | None = None) -> dict[str, Any]:
    """Return the state of every global random generator: torch's, NumPy's and Python's.

    Of CUDA it is that of ``device``, or those of all devices if none is given.
    """
    if device is None:
        cuda = torch.cuda.get_rng_state_all() if torch.cuda.is_available() else []
    else:
        cuda = [torch.cuda.get_rng_state(device)] if device.type == "cuda" else []
    name, keys, position, has_gauss, gauss = np.random.get_state(legacy=True)
    return {
        "torch": torch.get_rng_state(),
        "cuda": cuda,
        "numpy": [name, torch.from_numpy(np.asarray(keys).astype(np.int64)), position, has_gauss, gauss],
        "python": random.getstate(),
    }


def restore_random_state(state: Mapping[str, Any], device: torch.device | None = None) -> None:
    """Take back what :func:`random_state` returned; that of one device is given to ``device``, whatever its number."""
    torch.set_rng_state(state["torch"])
    if cuda := state["cuda"]:
        if device is None:
            torch.cuda.set_rng_state_all(cuda)
        elif device.type == "cuda":
            # Older checkpoints hold those of all devices; it was trained on the one that it goes on with, or the first.
            index = device.index or 0
            torch.cuda.set_rng_state(cuda[index if index < len(cuda) else 0], device)
    name, keys, position, has_gauss, gauss = state["numpy"]
    if not 0 <= position <= len(keys):  # NumPy does not check it, and would read outside of the keys
        raise ValueError("random.numpy is no state of a generator")
    np.random.set_state((name, keys.numpy().astype(np.uint32), position, has_gauss, gauss))
    version, internal, following = state["python"]
    random.setstate((version, tuple(internal), following))


def _verify(path: Path) -> dict[str, Any]:
    """Check every file of a checkpoint against its manifest; raises :class:`UserError` if one is not what it was."""
    try:
        manifest = _manifest(path)
    except ValueError as error:
        raise _damaged(path, str(error)) from None
    if manifest["format"] > FORMAT:
        raise UserError(f"the checkpoint {path} was written by a newer ganzoo; update with pip install -U")
    return manifest


def _manifest(path: Path) -> dict[str, Any]:
    """Return the manifest of a checkpoint; raises ValueError, of which UserError is one, if that is not intact."""
    manifest: Any = read_json(path / "checkpoint.json")
    kinds = {"format": int, "step": int, "sha256": dict}
    for key, kind in kinds.items():
        if not isinstance(manifest, dict) or not isinstance(manifest.get(key), kind):
            raise ValueError(f"checkpoint.json has no {key!r}")
    if manifest["format"] <= FORMAT:
        for name in _FILES:
            if _sha256(path / name) != manifest["sha256"].get(name):
                raise ValueError(f"{name} is not what was written")
        if f"step-{manifest['step']:06d}" != path.name:
            raise ValueError("checkpoint.json is of another step")
    checked: dict[str, Any] = manifest
    return checked


def _damaged(path: Path, reason: str) -> UserError:
    return UserError(f"the checkpoint {path} is damaged: {reason}{_intact(path.parent, but=path)}")


def _intact(folder: Path, but: Path | None = None) -> str:
    """Return the end of a sentence that says how to resume from intact checkpoints; empty if there are none."""
    found = []
    for step, path in steps(folder).items():
        with suppress(ValueError):
            if path != but and _manifest(path)["format"] <= FORMAT:
                found.append(step)
    if not found:
        return ""
    others = f" (those of {', '.join(map(str, found[:-1]))} too)" if found[:-1] else ""
    return (
        f"; the checkpoint of step {found[-1]} is intact{others}, go on from it with: "
        f"ganzoo train --resume {folder.parent} --from-step {found[-1]}"
    )


def _flatten(networks: Mapping[str, nn.Module]) -> dict[str, Tensor]:
    return {
        f"{name}.{key}": value.detach().clone(memory_format=torch.contiguous_format)  # tied weights too
        for name, network in networks.items()
        for key, value in network.state_dict().items()
    }


def _sha256(path: Path) -> str:
    with open_regular(path) as file:
        return hashlib.file_digest(file, "sha256").hexdigest()
