"""``ganzoo eval`` and ``ganzoo compare``."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from contextlib import suppress
from math import isfinite
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ganzoo.cli.conditions import Model
from ganzoo.errors import UserError
from ganzoo.terminal import print

if TYPE_CHECKING:
    from torch import Tensor

    from ganzoo.data.dataset import Dataset
    from ganzoo.fields import Signature
    from ganzoo.gan.metrics import Direction, Metric
    from ganzoo.inference.formats import Sampler
    from ganzoo.plugin.registry import Registry
    from ganzoo.runs.run import Run

__all__ = ["compare", "eval_"]

_IMAGES = ("classifier", "fid", "prdc", "memorization")
"""The metrics of images that are judged unless the data set or the user names others: those of them that can."""

_CONDITIONAL = "label_accuracy"
"""The same for models that take labels."""

_FILE = "eval.json"


def eval_(
    model: Model,
    metric: Annotated[
        list[str] | None,
        typer.Option(help="A metric, 'ganzoo list metric' shows all; may be repeated. By default what suits the data."),
    ] = None,
    data: Annotated[str | None, typer.Option(help="The data set; by default the one that it was trained on.")] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", help="A setting, as data.path=photos or metric.fid.extractor=inception; repeatable."),
    ] = None,
    n: Annotated[
        int | None, typer.Option("-n", help="Samples for every metric; by default what each asks for.")
    ] = None,
    network: Annotated[
        str | None, typer.Option(help="Which of the model's networks, such as b_to_a; the main one if left out.")
    ] = None,
    seed: Annotated[int, typer.Option(help="The seed that samples are drawn with.")] = 1,
    out: Annotated[
        Path | None, typer.Option(help="A folder for eval.json and pictures; a run's figures are also kept without.")
    ] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print all that eval.json holds.")] = False,
) -> None:
    """Evaluate a trained model: its samples beside as many real ones.

    What translates or fills images is judged by what it makes of the data's.
    """
    from ganzoo.fields import Image, Latent, Signature
    from ganzoo.files import write_atomic
    from ganzoo.inference.opening import open_model
    from ganzoo.plugin.registry import load_registry

    if n is not None and n < 1:
        raise UserError(f"-n is at least 1, not {n}")
    if seed < 0:
        raise UserError(f"--seed is at least 0, not {seed}")
    if out is not None and out.exists() and not out.is_dir():
        raise UserError(f"--out is a folder, not the file {out}")
    registry = load_registry()
    sampler = open_model(model, registry, network)
    signature = Signature.from_json(sampler.metadata["signature"])
    known = ("latent", "label", "attributes", "image", "mask")
    if signature.output.kind not in ("image", "points") or any(field.kind not in known for field in signature.inputs):
        raise UserError(f"{model} gives {signature.output.kind}; eval judges samples and images")
    settings = _settings(set_ or [])
    choice = _data(registry, model, sampler, data, settings["data"])
    dataset: Dataset = choice["build"]()
    _check(model, signature, dataset)
    conditional = any(not isinstance(field, Latent) for field in signature.inputs)
    metrics, left_out = _metrics(registry, model, metric or [], settings["metric"], dataset, conditional, n)

    for each in metrics.values():
        each.prepare()
    count = max(each.config.samples for each in metrics.values())
    print(f"drawing {count:,} samples by {sampler.device}", file=sys.stderr)
    samples, condition = _draw(sampler, signature, dataset, count, seed)
    figures: dict[str, float] = {}
    real: dict[str, float] = {}
    for name, each in list(metrics.items()):
        print(f"judging: {name}", file=sys.stderr)
        judged = samples[: each.config.samples]
        told = {key: values[: len(judged)] for key, values in condition.items()}
        try:
            drawn, floor = each(judged, told), each.floor()
        except UserError as error:
            if metric:
                raise
            left_out[name] = str(error)
            del metrics[name]
            continue
        figures |= {f"{name}/{key}": value for key, value in drawn.items()}
        real |= {f"{name}/{key}": value for key, value in floor.items()}
    if not metrics:
        raise _nothing(dataset, left_out)
    for name, reason in left_out.items():
        print(f"{name} is left out: {reason}", file=sys.stderr)
    doubts = list(dict.fromkeys(doubt for each in metrics.values() for doubt in each.doubts()))
    if undefined := [name for name, value in figures.items() if not isfinite(value)]:
        doubts.append(f"{', '.join(undefined)} cannot be told of these samples: no finite number comes out")
    for doubt in doubts:
        print(f"warning: {doubt}", file=sys.stderr)

    better = {name: metrics[name.partition("/")[0]].direction(name) for name in figures}
    document = _document(model, sampler, dataset, choice, metrics, seed)
    document |= {"figures": _finite(figures), "real": _finite(real), "better": better, "warnings": doubts}
    text = json.dumps(document, indent=2)
    kept = out if out is not None else Path(model) if Path(model).is_dir() else None
    if kept is not None:
        written = [kept / _FILE]
        write_atomic(written[0], f"{text}\n")
        if out is not None and isinstance(signature.output, Image):
            for each in metrics.values():
                written += each.draw(out, samples[: each.config.samples])
        print(f"written: {', '.join(map(str, written))}", file=sys.stderr)
    if as_json:
        print(text)
        return
    rows = [[name, _number(value), _number(real.get(name)), better[name] or ""] for name, value in figures.items()]
    _print([["figure", "samples", "real", "better"], *rows])


def _settings(sets: Sequence[str]) -> dict[str, dict[str, Any]]:
    """Return the settings of the data set, and those of the metrics by name."""
    from ganzoo.config.layers import merge, parse_set

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


def _data(
    registry: Registry, model: str, sampler: Sampler, name: str | None, settings: Mapping[str, Any]
) -> dict[str, Any]:
    """Return the name, settings and maker of the data set: that of the training unless another one is named."""
    from ganzoo.config.config import Choice
    from ganzoo.config.resolving import recorded
    from ganzoo.config.settings import validate
    from ganzoo.runs.run import Run

    document: Mapping[str, Any] = sampler.metadata
    trained: Any = document.get("data")
    if Path(model).is_dir():
        document = Run.open(Path(model)).document()
        trained = document.get("data")
    elif isinstance(trained, dict):  # a file has no settings of its data, only figures about it
        trained = {"name": trained.get("name")}
    if not isinstance(trained, dict) or not isinstance(trained.get("name"), str):
        raise UserError(f"{model} does not say what it was trained on")
    name = name or settings.get("name")
    try:
        entry = registry.get("dataset", name or trained["name"])
    except UserError as error:
        hint = "" if name else f" ({model} was trained on it); say what to judge it by with --data"
        raise UserError(f"{recorded(registry, error, document)}{hint}") from None
    values = {**entry.spec.defaults}
    with suppress(UserError):  # what it was trained on need not be here if it is judged by something else
        if name is None or registry.get("dataset", trained["name"]) == entry:
            values |= trained
    values = {key: value for key, value in {**values, **settings}.items() if key != "name"}
    config = validate(entry.spec.load().Config, "data", values)
    plain = {"name": entry.name, **config.model_dump(mode="json", exclude_none=True)}
    return {"settings": plain, "build": Choice(entry, config).build}


def _check(model: str, signature: Signature, dataset: Dataset) -> None:
    """Raise :class:`UserError` if the model draws something else than the data set holds."""
    drawn = signature.output
    held = next((field for field in dataset.spec.fields if field.name == drawn.name), dataset.spec.sample)
    if (drawn.kind, drawn.shape) != (held.kind, held.shape):
        raise UserError(
            f"{model} draws {drawn.describe()}, and {dataset.spec.name} holds {held.describe()}; name the data that it "
            "was trained on with --data, and its settings with --set"
        )


def _metrics(
    registry: Registry,
    model: str,
    names: Sequence[str],
    settings: Mapping[str, Any],
    dataset: Dataset,
    conditional: bool,
    n: int | None,
) -> tuple[dict[str, Metric], dict[str, str]]:
    """Return the metrics by key, and of those that nobody has named the ones that cannot judge this, with the reason.

    Raises :class:`UserError` for one that has been named and cannot, or if none is left.
    """
    from ganzoo.config.settings import validate
    from ganzoo.fields import Image

    suggested = list(dataset.metrics)
    if not suggested and isinstance(dataset.spec.sample, Image):
        suggested = [*_IMAGES, *([_CONDITIONAL] if conditional else [])]
    entries = [registry.get("metric", name) for name in dict.fromkeys(names or suggested)]
    given = {registry.get("metric", name).name: table for name, table in settings.items()}
    for name in given:
        if name not in [entry.name for entry in entries]:
            key = registry.get("metric", name).spec.key
            raise UserError(f"there are settings for {key!r}, which is not judged; add --metric {key}")
    metrics: dict[str, Metric] = {}
    left_out: dict[str, str] = {}
    for entry in entries:
        cls: type[Metric] = entry.spec.load()
        values = {**entry.spec.defaults, **given.get(entry.name, {}), **({} if n is None else {"samples": n})}
        config = validate(cls.Config, f"metric.{entry.spec.key}", values)
        try:
            if cls.conditional and not conditional:
                raise UserError(
                    f"{entry.spec.key} judges whether a model draws what it is told, and {model} is told nothing"
                )
            metrics[entry.spec.key] = cls(config, dataset)
        except UserError as error:
            if names:
                raise
            left_out[entry.spec.key] = str(error)
    if not metrics:
        raise _nothing(dataset, left_out)
    return metrics, left_out


def _nothing(dataset: Dataset, left_out: Mapping[str, str]) -> UserError:
    """Return the error that no metric is left, with the first one's reason."""
    why = f": {next(iter(left_out.values()))}" if left_out else ""
    return UserError(f"no metric suits {dataset.spec.name}{why}; name one with --metric")


def _draw(
    sampler: Sampler, signature: Signature, dataset: Dataset, count: int, seed: int
) -> tuple[Tensor, dict[str, Tensor]]:
    """Return samples as metrics take them, float32 and images in 0..255, and what they were drawn for, by name."""
    import numpy as np
    import torch

    from ganzoo.fields import Image, Latent
    from ganzoo.inference.outputs import to_data
    from ganzoo.inference.sampling import draw_inputs

    images = {field.name: field for field in signature.inputs if isinstance(field, Image)}
    given: dict[str, Tensor] = {}
    if images:
        given = dataset.examples(count)
        if missing := images.keys() - given.keys():
            raise UserError(f"{dataset.spec.name} has no images {min(missing)!r}; name other data with --data")
        for name, field in images.items():
            low, high = field.range
            given[name] = given[name] * ((high - low) / 255) + low
        count = len(given[next(iter(images))])
    inputs = draw_inputs(signature, count, seed, given=given)
    try:
        if images:
            pieces = zip(*(torch.split(part, 64) for part in inputs), strict=True)
            samples = torch.from_numpy(np.concatenate([sampler(*(part.numpy() for part in each)) for each in pieces]))
        else:
            samples = torch.from_numpy(sampler.sample(count, seed=seed))
    except ValueError as error:
        raise UserError(str(error)) from None
    if not bool(samples.isfinite().all()):
        raise UserError("the model draws numbers that are not finite; its training has failed")
    told = zip(signature.inputs, inputs, strict=True)
    condition = {field.name: to_data(part, field) for field, part in told if not isinstance(field, Latent)}
    return to_data(samples, signature.output), condition


def _document(
    model: str,
    sampler: Sampler,
    dataset: Dataset,
    choice: Mapping[str, Any],
    metrics: Mapping[str, Metric],
    seed: int,
) -> dict[str, Any]:
    """Return what one must know to repeat the figures and to compare them."""
    from importlib import metadata

    from ganzoo import __version__
    from ganzoo_runtime.text import shown

    versions = {"ganzoo": __version__}
    for name in ("torch", "torch-fidelity", "numpy"):
        try:
            versions[name] = metadata.version(name)
        except metadata.PackageNotFoundError:
            continue
    return {
        "schema": 1,
        "model": shown(model),
        "network": sampler.metadata.get("model", {}),
        "training": sampler.metadata.get("training", {}),
        "data": {**choice["settings"], "samples": len(dataset)},
        "seed": seed,
        "device": sampler.device,
        "samples": {name: metric.config.samples for name, metric in metrics.items()},
        "settings": {
            name: metric.config.model_dump(mode="json", exclude={"samples"}) for name, metric in metrics.items()
        },
        "judges": {name: metric.facts() for name, metric in metrics.items()},
        "versions": versions,
    }


def compare(
    runs: Annotated[list[str], typer.Argument(metavar="RUN...", help="Runs: folders, numbers, or 'last'.")],
    out: Annotated[Path | None, typer.Option(help="FILE.png: the curves of the runs in one picture.")] = None,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show runs side by side: settings, losses and figures."""
    from ganzoo.runs.run import Run

    if out is not None and out.suffix.lower() != ".png":
        raise UserError(f"--out is a .png, not {out}")
    records = [_record(Run.open(run)) for run in runs]
    if len({record["name"] for record in records}) < len(records):  # runs of the same number in two folders
        records = [{**record, "name": record["run"]} for record in records]
    shared = set.intersection(*(set(record["settings"]) for record in records))
    differing = sorted(key for key in shared if len({str(record["settings"][key]) for record in records}) > 1)
    for record in records:
        record["settings"] = {key: record["settings"][key] for key in differing}
    if out is not None:
        _plot(out, records)
        print(f"curves: {out}", file=sys.stderr)
    better = _better({key for record in records for section in ("last", "eval") for key in record[section]})
    if as_json:
        for record in records:
            known = {**record["last"], **record["eval"]}
            record["better"] = {key: better[key] for key in known if better[key]}
        print(json.dumps([{key: record[key] for key in record if key != "rows"} for record in records], indent=2))
        return
    table = [["", *(record["name"] for record in records), "better"]]
    table += [
        [key, *(str(record[key]) for record in records), ""] for key in ("model", "data", "loss", "step", "steps")
    ]
    for section, label in (("settings", ""), ("last", ""), ("eval", "eval ")):
        for key in dict.fromkeys(key for record in records for key in record[section]):
            values = (_number(record[section].get(key)) for record in records)
            table.append([f"{label}{key}", *values, better.get(key) or "" if section != "settings" else ""])
    _print(table)


def _better(names: Iterable[str]) -> dict[str, Direction | None]:
    """Return which way is good for each figure, if it is one of a metric that is installed and says so."""
    from ganzoo.plugin.registry import load_registry

    registry, better = load_registry(), {}
    for name in names:
        try:
            cls: type[Metric] = registry.get("metric", name.partition("/")[0]).spec.load()
            better[name] = cls.direction(name)
        except UserError:  # a loss, or a metric of a plugin that is gone
            better[name] = None
    return better


def _record(run: Run) -> dict[str, Any]:
    """Return what is known about a run, from its files alone."""
    from ganzoo.config.layers import flat

    path = run.path
    document, rows = run.document(), run.metrics()
    try:
        key = document["plugin"].rpartition("/")[2]
        data, loss = (document.get(name, {}).get("name", "").rpartition("/")[2] for name in ("data", "loss"))
        steps, metrics = document["steps"], [name.rpartition("/")[2] for name in document.get("metric", {})]
    except (KeyError, AttributeError, TypeError):
        raise UserError(f"{path / 'config.toml'} is not the config of a run") from None
    last: dict[str, float] = {}
    for row in rows:
        last |= {name: row[name] for name in row if name.endswith("/loss") or name.partition("/")[0] in metrics}
    shown = ("plugin", "steps", "data.name", "loss.name")
    hidden = ("environment", "data_spec", "metric")
    settings = {name: value for name, value in document.items() if name not in hidden}
    return {
        "name": path.resolve().name,
        "run": str(path),
        "model": key,
        "data": data,
        "loss": loss,
        "steps": steps,
        "step": rows[-1]["step"] if rows else 0,
        "settings": {name: value for name, value in flat(settings).items() if name not in shown},
        "last": last,
        "eval": _figures(path / _FILE),
        "rows": rows,
    }


def _figures(path: Path) -> dict[str, float]:
    """Return the figures of an eval.json, none if there is none."""
    from ganzoo.files import read_json

    if not path.exists():
        return {}
    try:
        document = read_json(path)
    except UserError:
        document = None
    figures = document.get("figures") if isinstance(document, dict) else None
    if not isinstance(figures, dict) or not all(type(each) in (int, float, type(None)) for each in figures.values()):
        raise UserError(f"{path} is damaged; delete it, or write it anew with: ganzoo eval {path.parent}")
    return figures


def _plot(path: Path, records: Sequence[Mapping[str, Any]]) -> None:
    """Draw one panel for each loss and metric, with a line for each run."""
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    from ganzoo.images.plots import caption, save_figure

    keys = sorted(
        {key for record in records for key in record["last"]}, key=lambda key: (not key.endswith("/loss"), key)
    )
    if not keys:
        raise UserError("these runs have logged nothing yet that could be drawn")
    columns = min(3, len(keys))
    lines = -(-len(keys) // columns)
    figure = Figure(figsize=(5 * columns, 3.6 * lines + 0.5), layout="constrained")
    FigureCanvasAgg(figure)
    panels = list(figure.subplots(lines, columns, squeeze=False).flat)
    for panel, key in zip(panels, keys, strict=False):
        for index, record in enumerate(records):
            points = [(row["step"], row[key]) for row in record["rows"] if key in row]
            if points:
                # A single point is no line.
                marker = "o" if len(points) == 1 else None
                panel.plot(
                    *zip(*points, strict=True),
                    marker=marker,
                    color=f"C{index}",
                    linestyle="-",
                    label=caption(record["name"]),
                )
        panel.set(title=caption(key), xlabel="step")
        panel.grid(alpha=0.3)
    for panel in panels[len(keys) :]:
        panel.set_axis_off()
    handles = {label: line for panel in panels for line, label in zip(*panel.get_legend_handles_labels(), strict=True)}
    figure.legend(handles.values(), handles.keys(), loc="outside lower center", ncols=min(4, len(handles)))
    save_figure(path, figure)


def _finite(figures: Mapping[str, float]) -> dict[str, float | None]:
    """Return figures as JSON can hold them: null for what is not a number."""
    return {name: value if isfinite(value) else None for name, value in figures.items()}


def _number(value: Any) -> str:
    if value is None:
        return "-"
    return f"{value:.4g}" if isinstance(value, float) else str(value)


def _print(table: Sequence[Sequence[str]]) -> None:
    from ganzoo_runtime.text import shown

    table = [[shown(cell) for cell in row] for row in table]  # as wide as it is printed
    widths = [max(len(row[column]) for row in table) for column in range(len(table[0]))]
    for row in table:
        print("  ".join(f"{cell:{width}}" for cell, width in zip(row, widths, strict=True)).rstrip())
