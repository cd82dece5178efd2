"""``ganzoo train``."""

from __future__ import annotations

import sys
from contextlib import nullcontext
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from ganzoo.errors import UserError, did_you_mean
from ganzoo.terminal import print

if TYPE_CHECKING:
    from ganzoo.config.config import Config
    from ganzoo.data.dataset import Dataset
    from ganzoo.plugin.registry import Registry
    from ganzoo.plugin.spec import Kind
    from ganzoo.runs.run import Run

__all__ = ["train"]


def train(
    plugin: Annotated[
        str | None, typer.Option("--plugin", "-p", help="The model; 'ganzoo list model' shows all.")
    ] = None,
    data: Annotated[str | None, typer.Option(help="The data set; 'ganzoo list dataset' shows all.")] = None,
    steps: Annotated[int | None, typer.Option(help="Generator steps.")] = None,
    loss: Annotated[str | None, typer.Option(help="The adversarial loss, instead of the model's.")] = None,
    regularizer: Annotated[list[str] | None, typer.Option(help="A regularizer to add; may be repeated.")] = None,
    without: Annotated[
        list[str] | None,
        typer.Option(help="A regularizer or metric to leave out that comes along otherwise; may be repeated."),
    ] = None,
    preset: Annotated[str | None, typer.Option(help="A named set of settings of the model.")] = None,
    config: Annotated[Path | None, typer.Option(help="A TOML file of settings, such as a run's config.toml.")] = None,
    set_: Annotated[
        list[str] | None, typer.Option("--set", help="A setting, as model.width=24; may be repeated.")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Decides weights, latents and the order of the data.")] = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu, cuda or mps.")] = None,
    out: Annotated[
        Path | None, typer.Option(help="The folder that run folders are made in; 'runs' if left out.")
    ] = None,
    generator: Annotated[
        str | None,
        typer.Option(
            metavar="RUN", help="The run whose generator gets an encoder, for models such as encoder_regression."
        ),
    ] = None,
    resume: Annotated[
        str | None,
        typer.Option(
            metavar="RUN",
            help="Go on with this run: its folder, its number, or 'last'; --steps, --device and --set may change it.",
        ),
    ] = None,
    from_step: Annotated[
        int | None,
        typer.Option(help="With --resume: go back to the checkpoint of this step; later ones are given up."),
    ] = None,
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show config, data, parameters and memory, and take no step.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress.")] = False,
) -> None:
    """Train a GAN into a new run folder, or go on with one."""
    from ganzoo.plugin.registry import load_registry
    from ganzoo.runs.run import Run

    registry = load_registry()
    flags: dict[str, Any] = {"steps": steps, "seed": seed, "device": device}
    flags = {key: value for key, value in flags.items() if value is not None}
    flags |= _left_out(registry, without or [])
    if resume is not None:
        named: dict[str, object] = {"--plugin": plugin, "--data": data, "--loss": loss, "--regularizer": regularizer}
        named |= {"--preset": preset, "--config": config, "--seed": seed, "--out": out, "--generator": generator}
        wrong = [name for name, value in named.items() if value not in (None, [])]
        if wrong:
            raise UserError(f"{wrong[0]} cannot change a run that is resumed; leave it out, or start a new run")
        run = Run.open(resume)
        with nullcontext() if dry_run else run.locked():
            _resume(registry, run, set_ or [], flags, from_step, dry_run, quiet)
        return
    if from_step is not None:
        raise UserError("--from-step goes back in a run that is resumed: give --resume RUN too")

    from ganzoo.config.resolving import load_config, overlay
    from ganzoo.runs.places import ROOT
    from ganzoo.training.rehearsal import rehearse

    flags |= {section: {"name": name} for section, name in (("data", data), ("loss", loss)) if name is not None}
    if regularizer:
        flags["regularizer"] = {name: {} for name in regularizer} | flags.get("regularizer", {})
    if generator is not None:
        flags = overlay(_of_generator(Run.open(generator)), flags)
    resolved = load_config(registry, plugin, preset=preset, file=config, sets=set_ or [], flags=flags)
    dataset = resolved.build_dataset()
    resolved = rehearse(resolved, dataset, quiet=quiet)
    if dry_run:
        _show(resolved, dataset)
        return
    run = Run.create(out or ROOT, resolved, dataset.spec)
    _fit(registry, resolved, run, dataset, quiet)


def _left_out(registry: Registry, names: list[str]) -> dict[str, Any]:
    """Return the settings that leave out what goes by these names, regularizers and metrics."""
    layer: dict[str, dict[str, Any]] = {}
    for name in names:
        kinds: tuple[Kind, ...] = ("regularizer", "metric")
        known = {
            kind: [each for entry in registry.specs(kind) for each in (entry.spec.key, entry.name)] for kind in kinds
        }
        found = [kind for kind in kinds if name in known[kind]]
        if not found:
            close = did_you_mean(name, [each for kind in kinds for each in known[kind] if "/" not in each])
            raise UserError(f"--without takes a regularizer or a metric, not {name!r}{close}")
        for kind in found:
            layer.setdefault(kind, {})[name] = False
    return layer


def _of_generator(run: Run) -> dict[str, Any]:
    """Return the settings of a model that is built on a finished run: its model, data and losses."""
    document = run.document()
    if missing := [key for key in ("plugin", "model") if key not in document]:
        raise UserError(f"{run.path / 'config.toml'} is not the config of a run: it has no {missing[0]!r}")
    model = {"gan": document["plugin"], "gan_settings": document["model"], "generator": str(run.path.resolve())}
    return {"model": model, **{key: document[key] for key in ("data", "loss", "regularizer") if key in document}}


def _resume(
    registry: Registry,
    run: Run,
    sets: list[str],
    flags: dict[str, Any],
    from_step: int | None,
    dry_run: bool,
    quiet: bool,
) -> None:
    from ganzoo.config.settings import paths
    from ganzoo.runs import checkpoint
    from ganzoo.training.loop import Loop
    from ganzoo.training.rehearsal import rehearse

    path = run.path
    before, config = run.config(registry), run.config(registry, sets=sets, flags=flags)
    _refuse_changes(before, config)
    if from_step is None:
        last = checkpoint.latest(run.checkpoints)
    else:
        last = checkpoint.find(run.checkpoints, from_step)
    step, _ = checkpoint.load_state(last)
    # What a training that was killed after its last checkpoint has not come to is made up for.
    if step > config.train.steps or (step == config.train.steps and (from_step is not None or _complete(run, step))):
        raise UserError(f"{path} is trained to its last step, {step}; give more with --steps")
    try:
        dataset = config.build_dataset()
    except UserError as error:
        moved = [f"--set {setting}=FOLDER" for setting in paths(config.data.settings, "data")]
        raise UserError(f"{error}; if the data has moved, say where: {' '.join(moved)}" if moved else error) from None
    if dataset.spec != run.data_spec():
        counts = (f"{run.data_spec().size:,} samples", f"{len(dataset):,}")
        then, now = counts if run.data_spec().size != len(dataset) else ("other shapes or classes", "these")
        raise UserError(
            f"the data of {path} has changed since the run began ({then} then, {now} now); start a new run with "
            f"--config {path / 'config.toml'}"
        )
    config = rehearse(config, dataset, quiet=quiet)
    Loop(config.build_trainer(dataset.spec), dataset, config.train).restore(last)
    if dry_run:
        _show(config, dataset)
        return
    run.write_config(config, dataset.spec)
    if not quiet:
        print(f"resuming {run.path} at step {step}", file=sys.stderr)
    _fit(registry, config, run, dataset, quiet, from_step)


def _complete(run: Run, step: int) -> bool:
    """Return whether all is there that a training writes after its last checkpoint, the card last."""
    from ganzoo.runs.card import is_current

    files = (run.samples / f"{step:06d}.png", run.path / "losses.png", run.path / "progress.gif")
    return all(file.is_file() for file in files) and is_current(run, step, step)


def _refuse_changes(before: Config, after: Config) -> None:
    """Raise :class:`UserError` where a setting has changed that the checkpoint has decided: it would do nothing.

    Paths may change, since folders are moved.
    """
    from ganzoo.config.layers import flat
    from ganzoo.config.settings import paths

    old, new = flat(before.to_dict()), flat(after.to_dict())
    for place in paths(after.model.settings, "model"):
        old.pop(place, None)
        new.pop(place, None)
    for name in sorted(old.keys() | new.keys()):
        section = name.partition(".")[0]
        fixed = section in ("plugin", "seed", "model", "loss", "regularizer") or name == "data.name"
        if fixed and old.get(name) != new.get(name):
            raise UserError(f"{name!r} cannot change in a run that is resumed; leave it out, or start a new run")


def _fit(
    registry: Registry, config: Config, run: Run, dataset: Dataset, quiet: bool, from_step: int | None = None
) -> None:
    from ganzoo.training.fit import fit

    if not quiet:
        loss = f", loss {config.loss.key}" if config.loss else ""
        print(f"training {config.model.key} on {dataset.spec.name} ({len(dataset):,} samples){loss}", file=sys.stderr)
        print(f"run folder: {run.path}", file=sys.stderr)
    fit(config, run, registry, dataset, quiet=quiet, from_step=from_step)
    print(run.path)
    if not quiet:
        formats = [f"; export with: ganzoo export {run.path} --{entry.spec.key}" for entry in registry.specs("format")]
        print(f"samples: {run.path / 'samples'}{''.join(formats[:1])}", file=sys.stderr)


def _show(config: Config, dataset: Dataset) -> None:
    import tomli_w

    from ganzoo.training.memory import estimate

    print(tomli_w.dumps(config.to_dict()))  # what follows is comment, so that all of it can be a --config
    fields = ", ".join(f"{field.name}: {field.describe()}" for field in dataset.spec.fields)
    print(f"# data: {dataset.spec.name}, {len(dataset):,} samples, {fields}")
    trainer = config.build_trainer(dataset.spec)
    for name, network in trainer.networks.items():
        print(f"# {name}: {sum(parameter.numel() for parameter in network.parameters()):,} parameters")
    for phase in trainer.phases():
        often = "every step" if phase.every == 1 else f"every {phase.every} steps"
        times = "" if phase.repeat == 1 else f" {phase.repeat} times"
        print(f"# phase {phase.name}:{times} {often}, updates {', '.join(phase.updates)}")
    size = max(1, estimate(trainer, dataset, config.train) / 2**20)
    print(f"# memory: about {size:,.0f} MiB beside the libraries' own")
