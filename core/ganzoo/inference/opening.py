"""Loading a trained model by any of its names: a run folder, a file, or ``zoo:NAME``."""

from __future__ import annotations

from pathlib import Path

from ganzoo.errors import UserError
from ganzoo.gan.sampler import Sampler
from ganzoo.inference.formats import Format
from ganzoo.inference.model import TrainedModel
from ganzoo.inference.zoo import model_file
from ganzoo.plugin.registry import Registry, load_registry
from ganzoo.runs.naming import Name, chosen, is_name, text_of

__all__ = ["Model", "load"]

Model = Name | TrainedModel
"""What a model is called: the path or number of a run folder, ``"last"``, a :class:`~ganzoo.Run`, the path of a model
file, or ``"zoo:NAME"``; or the model itself, if it was loaded before."""


def load(model: Model, network: str | None = None, *, registry: Registry | None = None) -> TrainedModel:
    """Load a trained model: a run, a model file, or a model of the zoo.

    ``model`` is a :class:`~ganzoo.Run` or its path, its number or ``"last"``, which are looked for in ``runs/``, with
    ``@1500`` or ``@best`` behind it as it was at the checkpoint of that step, or at the best by ``keep_best``; the
    path of a model file; or ``"zoo:NAME"``. A model that is loaded already is returned as it is. ``network`` is one of
    several networks of the model, by the name that it is exported under, such as ``"encoder"`` or ``"b_to_a"``; the
    main one if left out. In place of a file it is the file of that name beside it. Files of the zoo and exported files
    need no torch. ``registry`` is that of the installed plugins unless given.

    Raises :class:`~ganzoo.UserError` if there is no such model or network.
    """
    if isinstance(model, TrainedModel):
        if network is None:
            return model
        model = model.name
    text = text_of(model)
    return TrainedModel(*_open(text, network, registry or load_registry()))


def _open(text: str, network: str | None, registry: Registry) -> tuple[Sampler, str]:
    """Return what draws from the model, and the model's name, in place of a run's number its path."""
    with model_file(text, registry) as path:
        if path is not None:
            return _open_file(_beside(path, network), registry), text
    if Path(chosen(text)[0]).is_dir() or is_name(text):
        from ganzoo.inference.sampling import TorchSampler
        from ganzoo.runs.run import Run

        run = Run.open(text)
        return TorchSampler(*run.load(registry, network)), str(run)
    hint = "a model of the zoo is zoo:NAME, see 'ganzoo list pretrained'"
    raise UserError(f"there is no run folder or file {text}; {hint}")


def _beside(path: Path, network: str | None) -> Path:
    if network is None or path.stem == network:
        return path
    other = path.with_stem(network)
    if not other.is_file():
        raise UserError(
            f"there is no {other.name} beside {path}; "
            f"export it with: ganzoo export RUN --format {path.suffix[1:]} --all"
        )
    return other


def _open_file(path: Path, registry: Registry) -> Sampler:
    suffix = path.suffix.removeprefix(".")
    known = [entry.spec.key for entry in registry.specs("format")]
    if suffix not in known:
        raise UserError(f"{path} is of no format that is installed ({', '.join(f'.{key}' for key in known)})")
    reader: Format = registry.get("format", suffix).spec.load()()
    return reader.load(path)
