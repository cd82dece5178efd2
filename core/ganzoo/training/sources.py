"""What a fine-tuning starts from: a run, a model of the zoo, or a file, its weights and what is known of its model."""

from __future__ import annotations

import hashlib
from collections.abc import Container, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import SafetensorError
from safetensors.torch import load
from torch import Tensor, nn

from ganzoo.config.renamed import current
from ganzoo.config.train_settings import Source
from ganzoo.errors import UserError
from ganzoo.files import read_bytes, read_toml
from ganzoo.gan.networks import Discriminator, layers
from ganzoo.inference.formats import Format
from ganzoo.inference.zoo import WEIGHTS, model_file
from ganzoo.plugin.registry import Registry
from ganzoo.runs import checkpoint
from ganzoo.runs.naming import ZOO, chosen, is_name
from ganzoo.runs.run import Run
from ganzoo.training.matching import fitting, matched
from ganzoo_runtime.text import counted

if TYPE_CHECKING:
    from ganzoo.training.loop import Loop

__all__ = ["Weights", "open_source"]

_LIMIT = 2**33  # bytes of a file

_SHOWN = 4  # names in a line


@dataclass(frozen=True)
class Weights:
    """Tensors by ``network.name``, those of the last step and the averaged ones, and where they are from.

    ``config`` is that of the training that they are of, as :func:`ganzoo.load_config` takes it for a source; of an
    exported file it has the model's name alone, and of other files nothing.
    """

    source: Source
    config: Mapping[str, Any]
    last: Mapping[str, Tensor]
    averaged: Mapping[str, Tensor]

    @torch.no_grad()
    def load_into(self, loop: Loop) -> list[str]:
        """Load what fits by name and shape into a training that has not begun; return what did, a line a network.

        Lists of layers that are longer or shorter in the source are matched as :func:`matched` says, unless the trainer
        is going to lengthen them. Where there are no averaged weights of a network, those of the last step stand in for
        them, and the other way round. Raises :class:`UserError` if nothing fits, or not all of the layers that are to
        be frozen.
        """
        loop.grow(0)
        lines, count, trainer = [], 0, loop.trainer
        for name, network in trainer.networks.items():
            last, averaged = (_of(name, trainer.networks, each) for each in (self.last, self.averaged))
            grown = trainer.stage == len(trainer.stages)
            fits, line = _load(network, last or averaged, grown)
            if isinstance(network, Discriminator):
                self._check_frozen(name, network, fits, loop)
            if name in loop.ema:
                _load(loop.ema[name], averaged or last, grown)
            lines.append(f"{name}: {line}")
            count += len(fits)
        if not count:
            held = sorted({key.partition(".")[0] for key in (*self.last, *self.averaged)})
            raise UserError(
                f"no weights of {self.source.name} fit this model: they are of another one, or of other sizes "
                f"(it has {', '.join(held[:_SHOWN]) or 'none'})"
            )
        return [f"from {self.source.name}: {line}" for line in lines]

    def _check_frozen(self, name: str, network: Discriminator, fits: Container[str], loop: Loop) -> None:
        """Refuse layers that would be frozen with random weights."""
        count = loop.settings.freeze_discriminator
        for layer, module in [*layers(network)][:count]:
            if any(f"{layer}.{key}" not in fits for key in module.state_dict()):
                raise UserError(
                    f"freeze_discriminator={count} keeps {layer} of the {name} as {self.source.name} has it, and that "
                    "has no weights of it that fit; freeze less, or take images of the size that it was trained on"
                )


def open_source(source: Source, registry: Registry) -> Weights:
    """Read the weights that a training starts from; the ``source`` of the result says what was read.

    Raises :class:`UserError` if there is no such run or file, if it is damaged, or if it is no longer what it was when
    ``source.sha256`` was noted.
    """
    found = _open(source.name, registry)
    if source.sha256 not in ("", found.source.sha256):
        raise UserError(
            f"the weights of {source.name} are no longer those that this config was written for; to start from what "
            f"they are now, give --from {source.name}"
        )
    return found


def _open(name: str, registry: Registry) -> Weights:
    with model_file(name, registry) as file:
        if file is not None and name.startswith(ZOO):
            return _open_file(file, name, registry, zoo=True)
        if file is not None:
            return _open_file(file, str(file.resolve()), registry)
    if Path(chosen(name)[0]).is_dir() or is_name(name):
        run = Run.open(name)
        last, document = run.checkpoint(), run.document()
        before = document.get("source")
        known = str(before.get("license", "")) if isinstance(before, Mapping) else ""
        step, name = int(last.name.removeprefix("step-")), str(Run(run.path.resolve(), run.which))
        source = Source(name=name, sha256=checkpoint.digest(last), step=step, license=known)
        return Weights(source, document, checkpoint.load_tensors(last), checkpoint.load_tensors(last, "ema"))
    raise UserError(f"there is no run folder or file {name}; a model of the zoo is zoo:NAME")


def _open_file(path: Path, name: str, registry: Registry, *, zoo: bool = False) -> Weights:
    """Return the weights of a file; those of all networks and the config lie beside one of the zoo."""
    about: Mapping[str, Any] = {}
    suffix = path.suffix.removeprefix(".")
    formats = [entry.spec.key for entry in registry.specs("format")]
    config_file, beside = path.with_name("config.toml"), path.with_name(WEIGHTS)
    if zoo and beside.is_file():
        about, path, suffix = _about(path, registry), beside, "safetensors"
    if suffix == "safetensors":
        content = read_bytes(path, _LIMIT)
        try:
            tensors = load(content)
        except (SafetensorError, ValueError, RuntimeError, OSError) as error:
            raise UserError(f"{path} is no file of weights, or damaged: {' '.join(str(error).split())[:200]}") from None
    elif suffix in formats:
        reader: Format = registry.get("format", suffix).spec.load()()
        about, content = _about(path, registry), read_bytes(path, _LIMIT)
        tensors = {
            f"{about.get('network', 'generator')}.{key}": torch.tensor(value)
            for key, value in reader.weights(path).items()
        }
    else:
        raise UserError(
            f"{path} is no run, no .safetensors and no exported model; files of other programs are read by 'ganzoo "
            f"import', which makes a run of them"
        )
    known = current(read_toml(config_file)) if zoo and config_file.is_file() else _config_of(about)
    training = about.get("training")
    step = training.get("step") if isinstance(training, Mapping) else 0
    license_ = about.get("license")
    source = Source(
        name=name,
        sha256=hashlib.sha256(content).hexdigest(),
        step=step if isinstance(step, int) else 0,
        license=license_ if isinstance(license_, str) else "",
    )
    return Weights(source, known, tensors, {})


def _about(path: Path, registry: Registry) -> Mapping[str, Any]:
    """Return the metadata of an exported file."""
    reader: Format = registry.get("format", path.suffix.removeprefix(".")).spec.load()()
    return reader.load(path).metadata


def _config_of(about: Mapping[str, Any]) -> Mapping[str, Any]:
    """Return what the metadata of an exported file say of a config: which model, of which version of its plugin."""
    model = about.get("model")
    known = model if isinstance(model, Mapping) else {}
    distribution, key = known.get("plugin"), known.get("key")
    if not (isinstance(distribution, str) and isinstance(key, str)):
        return {}
    return {"plugin": f"{distribution}/{key}", "environment": {"plugins": {distribution: known.get("version")}}}


def _of(name: str, networks: Mapping[str, nn.Module], tensors: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """Return the tensors of one network, by their names in it.

    In a file of one network the names may stand alone; they are of the network that has most of them.
    """
    if any(key.partition(".")[0] in networks for key in tensors):
        return {key.removeprefix(f"{name}."): each for key, each in tensors.items() if key.startswith(f"{name}.")}
    best = max(networks, key=lambda each: len(networks[each].state_dict().keys() & tensors.keys()))
    return dict(tensors) if name == best else {}


def _load(network: nn.Module, tensors: Mapping[str, Tensor], grown: bool) -> tuple[Mapping[str, Tensor], str]:
    """Copy what fits into a network; return it by the network's names, and in words what did not."""
    own = network.state_dict()
    names, counted_otherwise = matched(own, tensors) if grown else ({key: key for key in tensors}, [])
    fits = fitting(own, tensors, names)
    for key, value in fits.items():
        own[key].copy_(value)
    if not fits:
        return fits, f"starts from random weights, as {'none of the source fit' if tensors else 'the source has none'}"
    parts = [f"{len(fits)} of {counted(len(own), 'tensor')}", *counted_otherwise]
    shapes = [key for key in own if key in names and key not in fits]
    parts += [f"of other shapes: {_listed(shapes)}"] if shapes else []
    missing = [key for key in own if key not in names]
    parts += [f"not in the source: {_listed(missing)}"] if missing else []
    used = {name for key, name in names.items() if key in own}
    unused = [name for name in tensors if name not in used]
    parts += [f"not used: {_listed(unused)}"] if unused else []
    return fits, "; ".join(parts)


def _listed(names: Sequence[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return f"{', '.join(names[:_SHOWN])}{more}"
