"""Evaluation of a trained model: metrics of its samples, beside those of as many real samples."""

from __future__ import annotations

import json
import sys
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from importlib import metadata
from math import isfinite
from os import PathLike
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from ganzoo.config.config import Choice
from ganzoo.config.data_choice import GIVEN_NAME, DataName, choose_data, recorded_data
from ganzoo.config.merging import merge, parse_set
from ganzoo.config.resolving import recorded
from ganzoo.config.validation import validate
from ganzoo.data.dataset import Dataset, content_hash
from ganzoo.data.objects import GIVEN
from ganzoo.errors import UserError, at_least, lists
from ganzoo.fields import Image, Latent, Signature
from ganzoo.files import write_atomic
from ganzoo.gan.metrics import Direction, Metric
from ganzoo.gan.sampler import Sampler
from ganzoo.inference.opening import Model, load
from ganzoo.inference.sampling import draw_inputs
from ganzoo.plugin.registry import BUNDLED, Entry, Registry, load_registry
from ganzoo.runs.naming import chosen
from ganzoo.runs.run import Run
from ganzoo.terminal import print
from ganzoo_runtime.text import counted, shown

__all__ = ["FILE", "Evaluation", "evaluate"]

FILE = "eval.json"
"""The file in which a folder has its figures."""

_VERSIONS = {"ganzoo": BUNDLED, "torch": "torch", "torch-fidelity": "torch-fidelity", "numpy": "numpy"}
_BATCH = 64  # images at once through a network that takes images


@dataclass(frozen=True, eq=False)
class Evaluation:
    """The result of :func:`evaluate`.

    Figures are named ``metric/figure``, such as ``"prdc/classifier_mnist5k/recall"``. A figure that is not finite is
    named in ``warnings``.
    """

    figures: Mapping[str, float]
    """The figures of the model's samples."""

    reference: Mapping[str, float]
    """The figures of as many real samples, where they are known; a model can be better than these only by chance."""

    better: Mapping[str, Direction | None]
    """Which way is good: ``"higher"``, ``"lower"``, or ``"as real"``, near the reference; None for a mere count."""

    warnings: Sequence[str]
    """Why figures say little, a sentence each."""

    left_out: Mapping[str, str]
    """Metrics that nobody has named and that cannot be computed here, with the reason."""

    document: Mapping[str, Any]
    """All that eval.json holds, as plain data: the above, and what one must know to repeat it."""

    metrics: Mapping[str, Metric] = field(repr=False)
    """The metrics by key."""

    samples: Tensor = field(repr=False)
    """What was evaluated, float32 [N, ...], images in 0..255."""

    def save(self, folder: str | PathLike[str], *, images: bool = True) -> list[Path]:
        """Write eval.json, and with ``images`` what the metrics have to show, into a folder; return the files.

        :func:`ganzoo.compare` finds the figures of a run in its folder. Raises :class:`~ganzoo.UserError` if nothing
        can be written there.
        """
        folder = Path(folder)
        files = [folder / FILE]
        write_atomic(files[0], f"{json.dumps(self.document, indent=2)}\n")
        for metric in self.metrics.values() if images else ():
            files += metric.draw(folder, self.samples[: metric.config.samples])
        return files


def evaluate(
    model: Model,
    *,
    metrics: Sequence[str] = (),
    data: DataName | None = None,
    sets: Sequence[str] = (),
    n: int | None = None,
    network: str | None = None,
    seed: int = 1,
    quiet: bool = False,
) -> Evaluation:
    """Evaluate a trained model by its samples, beside as many real ones.

    A network that translates or fills images is evaluated by its outputs for the data's. ``model`` is called as in
    :func:`ganzoo.load`, and so is its ``network``. ``metrics`` are names of metrics; if there are none, those that the
    data set names, or else those that are :attr:`~ganzoo.Metric.default_for` such samples, as far as they can be
    computed here. ``data`` is given as to :func:`ganzoo.train`, by default what the model was trained on. ``sets`` are
    settings of it and of the metrics, as ``"data.path=images"`` or ``"metric.fid.extractor=inception"``. ``n`` samples
    are drawn for every metric, by default as many as each asks for, from ``seed``. Progress goes to stderr unless
    ``quiet``. Nothing is written; see :meth:`Evaluation.save`. The data set and its classifier take memory, and
    training that classifier takes a minute the first time.

    Raises :class:`~ganzoo.UserError` if there is no such model, data or metric, if the model draws something else than
    the data set holds, if a named metric cannot be computed, or if no metric is left.
    """
    lists(metrics=metrics, sets=sets)
    at_least("-n", n, 1)
    at_least("--seed", seed, 0)
    registry, chosen = choose_data(load_registry(), data)
    sampler = load(model, network, registry=registry)
    model, signature = sampler.name, sampler.signature
    if foreign := [each for each in signature.inputs if not (each.drawn or isinstance(each, Image))]:
        raise UserError(f"{model} takes {foreign[0].kind}, which evaluation can neither draw nor take from data")
    if isinstance(signature.output, Latent):
        raise UserError(f"{model} gives latents; samples are what can be evaluated")
    settings = _settings(sets)
    choice = _data(registry, model, sampler, {**settings["data"], **chosen})
    dataset: Dataset = choice.build() if chosen else recorded_data(choice)
    _check(model, signature, dataset)
    entries = [registry.get("metric", name) for name in dict.fromkeys(metrics or dataset.metrics)]
    entries = entries or _defaults(registry, dataset, signature)
    built, left_out = _build(registry, entries, settings["metric"], dataset, signature, n, required=bool(metrics))

    if not built:
        raise _nothing(dataset, left_out)

    for metric in built.values():
        metric.prepare(quiet=quiet)
    count = max(metric.config.samples for metric in built.values())
    if not quiet:
        print(f"drawing {counted(count, 'sample')} by {sampler.device}", file=sys.stderr)
    samples, condition = _draw(sampler, signature, dataset, count, seed)
    figures: dict[str, float] = {}
    reference: dict[str, float] = {}
    for key, metric in list(built.items()):
        if not quiet:
            print(f"evaluating: {key}", file=sys.stderr)
        part = samples[: metric.config.samples]
        try:
            found = metric(part, {name: values[: len(part)] for name, values in condition.items()})
            if signature.drawn:
                found |= metric.probe(sampler.sampler, seed)
            real = metric.reference()
        except UserError as error:
            if metrics:
                raise
            left_out[key] = str(error)
            del built[key]
            continue
        figures |= {f"{key}/{name}": value for name, value in found.items()}
        reference |= {f"{key}/{name}": value for name, value in real.items()}
    if not built:
        raise _nothing(dataset, left_out)
    warnings = list(dict.fromkeys(sentence for metric in built.values() for sentence in metric.warnings()))
    if not (chosen or settings["data"]) and _has_changed(model, dataset):
        warnings.append(f"{dataset.spec.name} has changed since the training; the figures are about what it holds now")
    if undefined := [name for name, value in figures.items() if not isfinite(value)]:
        warnings.append(f"{', '.join(undefined)} cannot be computed from these samples: no finite number comes out")
    better = {name: built[name.partition("/")[0]].direction(name) for name in figures}
    document = _document(model, sampler, dataset, choice, built, seed)
    document |= {"figures": _finite(figures), "real": _finite(reference), "better": better, "warnings": warnings}
    return Evaluation(figures, reference, better, warnings, left_out, document, built, samples)


def _settings(sets: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Return the settings of the data set, and those of the metrics by name."""
    merged: dict[str, Any] = {"data": {}, "metric": {}}
    for text in sets:
        layer = parse_set(text)
        section = next(iter(layer))
        table = layer[section]
        inner = table if section == "data" else next(iter(table.values())) if isinstance(table, Mapping) else None
        if section not in merged or not isinstance(inner, Mapping):
            raise UserError(f"eval takes --set data.SETTING=VALUE and metric.NAME.SETTING=VALUE, not {text!r}")
        merged = merge(merged, layer)
    return merged


def _data(registry: Registry, model: str, sampler: Sampler, settings: Mapping[str, Any]) -> Choice:
    """Return the data set and its settings: those of the training unless another one is named."""
    document: Mapping[str, Any] = sampler.metadata
    trained: Any = document.get("data")
    if Path(chosen(model)[0]).is_dir():
        document = Run.open(model).document()
        trained = document.get("data")
    elif isinstance(trained, dict):  # a file has no settings of its data, only figures about it
        trained = {"name": trained.get("name")}
    if not isinstance(trained, dict) or not isinstance(trained.get("name"), str):
        raise UserError(f"{model} does not say what it was trained on")
    name = settings.get("name")
    try:
        entry = registry.get("dataset", name or trained["name"])
    except UserError as error:
        unsaid = name is None and trained["name"] not in (GIVEN, GIVEN_NAME)
        hint = f" ({model} was trained on it); say what to evaluate it on with --data" if unsaid else ""
        raise UserError(f"{recorded(registry, error, document)}{hint}") from None
    values = {**entry.spec.defaults}
    with suppress(UserError):  # what it was trained on need not be here if it is evaluated on something else
        if name is None or registry.get("dataset", trained["name"]) == entry:
            values |= trained
    values = {key: value for key, value in {**values, **settings}.items() if key != "name"}
    return Choice(entry, validate(entry.spec.load().Config, "data", values))


def _has_changed(model: str, dataset: Dataset) -> bool:
    """Return whether the data set holds other samples than a run began with, as far as that recorded them."""
    before = Run.open(model).data_spec().content if Path(chosen(model)[0]).is_dir() else ""
    return before != "" and before != content_hash(dataset)


def _check(model: str, signature: Signature, dataset: Dataset) -> None:
    """Raise :class:`UserError` if the model draws something else than the data set holds."""
    drawn = signature.output
    held = next((field for field in dataset.spec.fields if field.name == drawn.name), dataset.spec.sample)
    seen = held.scaled((-1.0, 1.0))
    if (drawn.kind, drawn.shape) != (seen.kind, seen.shape):
        raise UserError(
            f"{model} draws {drawn.describe()}, and {dataset.spec.name} holds {held.describe()}; name the data that it "
            "was trained on with --data, and its settings with --set"
        )


def _defaults(registry: Registry, dataset: Dataset, signature: Signature) -> list[Entry]:
    """Return the metrics that say of themselves that they are for such samples, in the registry's order."""
    conditional = bool(signature.conditions)
    found: dict[str, Entry] = {}
    for entry in registry.specs("metric"):
        with suppress(UserError):  # a plugin's that cannot be loaded; 'ganzoo check' says so
            cls: type[Metric] = entry.spec.load()
            if dataset.spec.sample.kind in cls.default_for and (conditional or not cls.conditional):
                found.setdefault(entry.spec.key, entry)
    return list(found.values())


def _build(
    registry: Registry,
    entries: Sequence[Entry],
    settings: Mapping[str, Any],
    dataset: Dataset,
    signature: Signature,
    n: int | None,
    *,
    required: bool,
) -> tuple[dict[str, Metric], dict[str, str]]:
    """Return the metrics by key, and the reason for each that cannot be computed here.

    Raises :class:`UserError` for the latter if they are ``required``.
    """
    given = {registry.get("metric", name).name: table for name, table in settings.items()}
    for name in given:
        if name not in [entry.name for entry in entries]:
            key = registry.get("metric", name).spec.key
            raise UserError(f"there are settings for {key!r}, which is not computed; add --metric {key}")
    metrics: dict[str, Metric] = {}
    left_out: dict[str, str] = {}
    for entry in entries:
        key, cls = entry.spec.key, entry.spec.load()
        values = {**entry.spec.defaults, **given.get(entry.name, {}), **({} if n is None else {"samples": n})}
        config = validate(cls.Config, f"metric.{key}", values)
        try:
            metric: Metric = cls(config, dataset)
            metric.check(signature)
            metrics[key] = metric
        except UserError as error:
            if required:
                raise UserError(f"the metric {key} cannot be computed: {error}") from None
            left_out[key] = str(error)
    return metrics, left_out


def _nothing(dataset: Dataset, left_out: Mapping[str, str]) -> UserError:
    """Return the error that no metric is left, with the first one's reason."""
    why = f": {next(iter(left_out.values()))}" if left_out else ""
    return UserError(f"no metric suits {dataset.spec.name}{why}; name one with --metric")


def _draw(
    sampler: Sampler, signature: Signature, dataset: Dataset, count: int, seed: int
) -> tuple[Tensor, dict[str, Tensor]]:
    """Return samples as metrics take them, float32 and images in 0..255, and what they were drawn for, by name."""
    images = {each.name: each for each in signature.inputs if isinstance(each, Image)}
    given: dict[str, Tensor] = {}
    if images:
        given = dataset.examples(count)
        if missing := images.keys() - given.keys():
            raise UserError(f"{dataset.spec.name} has no images {min(missing)!r}; name other data with --data")
        for name, image in images.items():
            given[name] = image.encode(given[name])
        count = len(given[next(iter(images))])
    inputs = draw_inputs(signature, count, seed, given=given)
    try:
        if images:
            pieces = zip(*(torch.split(part, _BATCH) for part in inputs), strict=True)
            samples = torch.from_numpy(np.concatenate([sampler(*(part.numpy() for part in each)) for each in pieces]))
        else:
            samples = torch.from_numpy(sampler.sample(count, seed=seed))
    except ValueError as error:
        raise UserError(str(error)) from None
    named = zip(signature.inputs, inputs, strict=True)
    condition = {each.name: each.decode(part) for each, part in named if each in signature.conditions}
    return signature.output.decode(samples), condition


def _document(
    model: str, sampler: Sampler, dataset: Dataset, choice: Choice, metrics: Mapping[str, Metric], seed: int
) -> dict[str, Any]:
    """Return what one must know to repeat the figures and to compare them."""
    versions: dict[str, str] = {}
    for name, distribution in _VERSIONS.items():
        with suppress(metadata.PackageNotFoundError):
            versions[name] = metadata.version(distribution)
    settings = choice.settings.model_dump(mode="json", exclude_none=True)
    return {
        "schema": 1,
        "model": shown(model),
        "network": sampler.metadata.get("model", {}),
        "training": sampler.metadata.get("training", {}),
        "data": {"name": choice.entry.name, **settings, "samples": len(dataset)},
        "seed": seed,
        "device": sampler.device,
        "samples": {key: metric.config.samples for key, metric in metrics.items()},
        "settings": {
            key: metric.config.model_dump(mode="json", exclude={"samples"}) for key, metric in metrics.items()
        },
        "evaluators": {key: metric.metadata() for key, metric in metrics.items()},
        "versions": versions,
    }


def _finite(figures: Mapping[str, float]) -> dict[str, float | None]:
    """Return figures as JSON can hold them: null for what is not a number."""
    return {name: value if isfinite(value) else None for name, value in figures.items()}
