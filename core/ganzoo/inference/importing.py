"""Weights that other programs have published, made into a run of ours."""

from __future__ import annotations

import copy
import hashlib
from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from inspect import signature
from os import PathLike
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from torch import Tensor, nn

from ganzoo.config.data_choice import choose_data
from ganzoo.config.resolving import load_config
from ganzoo.config.train_settings import Source
from ganzoo.data.dataset import DataSpec, TensorDataset
from ganzoo.errors import UserError, did_you_mean, sentence
from ganzoo.files import open_regular, read_pickle, temporary_path, write_atomic
from ganzoo.plugin.registry import Registry, load_registry
from ganzoo.runs import checkpoint
from ganzoo.runs.naming import ROOT, next_number
from ganzoo.runs.run import Run
from ganzoo.runs.state_checks import conformed
from ganzoo_runtime.text import shown

if TYPE_CHECKING:
    from ganzoo.gan.trainer import Trainer

__all__ = ["Imported", "Importer", "import_weights"]


@dataclass(frozen=True)
class Imported:
    """What an importer makes of a file: a model with its settings, and the weights of its networks.

    ``model`` is a model's name and ``settings`` are those of it; ``data`` says what it draws and is conditioned on,
    and its name what it was trained on, as far as the file tells. ``averaged`` and ``networks`` are the weights by
    network and name, as in ``state_dict()``: averaged ones, which samples are drawn with, and those of the last step,
    which may be missing. Buffers with a default may be missing too. ``license`` is that of all files of this format,
    empty if each has its own; ``notes`` are sentences for the model card.
    """

    model: str
    settings: Mapping[str, Any]
    data: DataSpec
    averaged: Mapping[str, Mapping[str, Tensor]]
    networks: Mapping[str, Mapping[str, Tensor]]
    license: str = ""
    notes: tuple[str, ...] = ()


Importer = Callable[..., Imported]
"""Turns what :func:`ganzoo.files.read_pickle` returns for a file into a model of ours; the target of a spec of the kind
``importer``. Parameters behind that, by name and with defaults, are options of the import. It raises
:class:`~ganzoo.UserError`, in one sentence, for a file that is not of its format, and for a wrong option."""


def import_weights(
    path: str | PathLike[str],
    kind: str,
    out: str | PathLike[str] | None = None,
    *,
    license: str = "",
    options: Mapping[str, Any] | None = None,
) -> Run:
    """Make a run of a file of published weights, and return it: it is sampled, exported and fine-tuned like others.

    ``kind`` names an importer, as 'ganzoo list importer' shows them; ``out`` is the folder of the run, by default a new
    one in ``runs/``. Nothing in the file is run. ``license`` is that of the weights, which has to be given if all files
    of the format do not have the same; it is kept in the run, its card, and the files exported from it. ``options``
    are the importer's own, if it has any.

    Raises :class:`~ganzoo.UserError` for a file that is damaged, of another format, or of networks that there is no
    model for, for an unknown option, and if there is something at ``out``.
    """
    path, registry = Path(path), load_registry()
    entry = registry.get("importer", kind)
    importer: Importer = entry.spec.load()
    known = list(signature(importer).parameters)[1:]
    if wrong := next((name for name in options or {} if name not in known), ""):
        raise UserError(f"the importer {kind} has no option {wrong!r}{did_you_mean(wrong, known)}")
    state = read_pickle(path)
    try:
        found = importer(state, **(options or {}))
    except UserError as error:
        raise UserError(f"{path} cannot be imported as {kind}: {error}") from None
    except Exception as error:  # what an importer stumbles over where tensors have other shapes than it expects
        raise UserError(f"{path} is damaged, or not of the format {kind}: {sentence(error)[:200]}") from error
    if not (license := license or found.license):
        raise UserError(
            f"{path} does not say how its weights may be used; give their license with --license TEXT, as the place "
            "that you have the file from states it"
        )
    with open_regular(path) as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    source = Source(name=str(path.resolve()), format=entry.spec.key, sha256=digest, license=license)
    folder = Path(out) if out is not None else ROOT / f"{next_number(ROOT):04d}-{found.model}-{found.data.name}"
    if folder.exists():
        raise UserError(f"{folder} is there already; choose another --out")
    # The training data is nowhere: a run of data that was given as an object does not look for it either.
    fields = found.data.fields
    empty = {each.name: torch.empty(0, *each.shape, dtype=getattr(torch, each.data_dtype)) for each in fields}
    registry, data = choose_data(registry, TensorDataset(replace(found.data, size=0), empty))
    config = load_config(registry, found.model, file={"data": data, "model": found.settings, "steps": 1})
    config = config.with_source(source)
    checkpoint.seed_random(config.train.seed)
    trainer = config.build_trainer(found.data)
    ema, notes = _filled(trainer, found, path)
    with temporary_path(folder, f"the run {folder}", folder=True) as temporary:
        run = Run(temporary)
        run.write_config(config, found.data)
        # What is missing for going on is refused by the config's source, before anyone looks for it.
        checkpoint.save(run.checkpoints, 0, trainer.networks, ema, {}, 1)
        write_atomic(run.path / "README.md", shown(_card(folder, path, source, found, trainer, notes, registry)))
        temporary.rename(folder)
    return Run(folder)


def _filled(trainer: Trainer, found: Imported, path: Path) -> tuple[dict[str, nn.Module], list[str]]:
    """Load the weights into the trainer's networks; return the averaged ones, and what there is to say about it."""
    notes, averaged = list(found.notes), {}
    for name, network in trainer.networks.items():
        given = found.averaged.get(name) or found.networks.get(name)
        if name in trainer.averaged:
            if given is None:
                raise UserError(f"{path} has no {name}")
            averaged[name] = copy.deepcopy(network)
            _fill(averaged[name], given, f"{path} does not fit {found.model}: {name}")
        try:
            _fill(network, found.networks.get(name) or given or {}, f"the {name}")
        except UserError as error:
            if name in trainer.averaged:
                raise
            notes.append(f"The {name} is not that of the file, and has random weights: {error}.")
    return averaged, notes


def _fill(network: nn.Module, tensors: Mapping[str, Tensor], name: str) -> None:
    if wrong := next((key for key, tensor in tensors.items() if not tensor.isfinite().all()), ""):
        raise UserError(f"{name}.{wrong} has numbers that are not finite")
    own = network.state_dict()
    kept = {key: value for key, value in own.items() if key not in dict(network.named_parameters())}
    try:
        network.load_state_dict(conformed({**kept, **tensors}, own, name))
    except (ValueError, RuntimeError) as error:
        raise UserError(" ".join(str(error).split())[:300]) from None


def _card(
    folder: Path, path: Path, source: Source, found: Imported, trainer: Trainer, notes: list[str], registry: Registry
) -> str:
    spec = registry.get("model", found.model).spec
    fields = next(iter(trainer.exports(trainer.averaged_networks()).values())).signature
    drawn = f"{fields.output.describe()}, from {' and '.join(each.describe() for each in fields.inputs)}"
    counts = {name: sum(each.numel() for each in network.parameters()) for name, network in trainer.networks.items()}
    return "\n".join(
        [
            f"# {folder.name}",
            "",
            f"- Model: `{spec.key}`: {spec.summary}",
            f"- Paper: {spec.paper}",
            f"- Draws: {drawn}",
            f"- Imported from: {path.name} as {source.format} (sha256 {source.sha256})",
            f"- Data: {found.data.name}",
            f"- Parameters: {', '.join(f'{name} {count:,}' for name, count in counts.items())}",
            "",
            *notes,
            *([""] if notes else []),
            "## Use",
            "",
            f"    ganzoo sample {folder.name} --out samples.png",
            f"    ganzoo export {folder.name} --onnx",
            f"    ganzoo train --from {folder.name} --data FOLDER",
            "",
            "## License",
            "",
            f"The weights: {source.license}. It holds for what is exported from them and trained from them too.",
            "",
        ]
    )
