"""Training from the names of plugins and their settings, as ``ganzoo train`` does."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from contextlib import nullcontext
from os import PathLike
from typing import Any, NamedTuple

from ganzoo.config.config import Config
from ganzoo.config.data_choice import GIVEN_NAME, DataName, choose_data
from ganzoo.config.merging import flat
from ganzoo.config.resolving import load_config, overlay
from ganzoo.config.validation import paths
from ganzoo.data.dataset import Dataset
from ganzoo.errors import UserError, did_you_mean, lists, path_of
from ganzoo.plugin.registry import Registry, load_registry
from ganzoo.plugin.spec import Kind
from ganzoo.runs import checkpoint
from ganzoo.runs.card import is_current
from ganzoo.runs.naming import ROOT, Name, text_of
from ganzoo.runs.run import Run
from ganzoo.terminal import print
from ganzoo.training.fit import fit
from ganzoo.training.loop import Loop
from ganzoo.training.process import alone
from ganzoo.training.rehearsal import rehearse
from ganzoo.training.sources import open_source

__all__ = ["Prepared", "prepare", "train"]


class Prepared(NamedTuple):
    """A training that was resolved and tried once; no step has been taken and nothing written."""

    config: Config
    dataset: Dataset
    step: int
    """The step that it begins after: 0, or that of a checkpoint."""


def train(
    plugin: str | None = None,
    *,
    data: DataName | None = None,
    steps: int | None = None,
    loss: str | None = None,
    regularizers: Sequence[str] = (),
    trackers: Sequence[str] = (),
    without: Sequence[str] = (),
    preset: str | None = None,
    config: str | PathLike[str] | Mapping[str, Any] | None = None,
    sets: Sequence[str] = (),
    seed: int | None = None,
    device: str | None = None,
    deterministic: bool | None = None,
    out: str | PathLike[str] | None = None,
    generator: Name | None = None,
    from_: Name | None = None,
    resume: Name | None = None,
    from_step: int | None = None,
    profile: bool = False,
    quiet: bool = False,
) -> Run:
    """Train a GAN into a new run folder, or go on with one; return the run.

    A new training: ``plugin`` names the model and ``loss`` the adversarial loss, by default what the model suggests;
    ``regularizers`` and ``trackers`` are added. ``data`` is the name of a data set, a folder of images, a
    :class:`~ganzoo.Dataset`, or tensors or arrays: images [N, C, H, W], uint8, or floating point in 0..1 or -1..1;
    points [N, D]; or a pair of these and their classes [N] or attributes [N, D]. ``without`` names regularizers,
    metrics and trackers to leave out that would be used by default. ``preset`` is a named set of settings of the model;
    ``config`` the path of a TOML file of settings, such as a run's config.toml, or the same as a mapping: ``{"steps":
    500, "model": {"width": 24}}``; ``sets`` are single settings, such as ``"model.width=24"``. Arguments come before
    ``sets``, these before ``config``, that before the preset and the defaults. ``steps`` counts steps of the generator;
    ``seed`` decides weights, latents and the order of the data; ``device`` is ``"auto"``, ``"cpu"``, ``"cuda"`` or
    ``"mps"``; ``deterministic`` asks for the same result to the bit each time, on CUDA too. The run folder is made in
    ``out``, by default ``runs/``. ``generator`` is a run whose generator gets an encoder, for models such as
    ``encoder_regression``.

    With ``from_`` the training is a fine-tuning: it starts from the weights of a run, of ``"zoo:NAME"``, or of a file
    (``.safetensors``, or an ``.onnx`` as far as the export has kept them). What fits by name and shape is loaded into
    all networks, averaged ones from averages, and what does not is reported; data, losses and other settings are as
    they are given, optimizers start afresh, and steps at 0. The setting ``freeze_discriminator`` keeps layers as they
    are.

    With ``resume``, a :class:`~ganzoo.Run`, its path, its number or ``"last"``, that run goes on from its last
    checkpoint, or from that of ``from_step``; later ones are then deleted. ``steps``, ``device``, ``deterministic``,
    ``trackers``, ``without`` and ``sets`` may change it, nothing else. If its data was given as an object, ``data`` is
    to be given again.

    With ``profile`` some steps of the same training are profiled first: what they spend their time on goes to stderr,
    and a trace into the run folder; see :func:`ganzoo.training.profile.profile`.

    Everything is tried once before there is a run folder. Progress goes to stderr unless ``quiet``; warnings to the
    logger ``ganzoo``. torch's global random state is that of the seed afterwards. On SIGINT and SIGTERM, in the main
    thread, the step is finished, a checkpoint is written and :class:`~ganzoo.Interrupted` is raised; in another thread
    nothing interrupts it.

    Raises :class:`~ganzoo.UserError` for anything unknown or misspelled, for settings that do not fit together, for a
    run that another process trains, if another thread trains, and for a full disk; :class:`~ganzoo.TrainingError` if a
    loss is no longer finite or memory runs out.
    """
    root = ROOT if out is None else path_of("out", out)
    lists(regularizers=regularizers, trackers=trackers, without=without, sets=sets)
    run = None if resume is None else Run.open(resume)
    with alone(), nullcontext() if run is None else run.locked():
        settings, dataset, step = prepare(
            plugin,
            data=data,
            steps=steps,
            loss=loss,
            regularizers=regularizers,
            trackers=trackers,
            without=without,
            preset=preset,
            config=config,
            sets=sets,
            seed=seed,
            device=device,
            deterministic=deterministic,
            out=out,
            generator=generator,
            from_=from_,
            resume=run,
            from_step=from_step,
            quiet=quiet,
        )
        if run is None:
            run = Run.create(root, settings, dataset.spec)
        else:
            run.write_config(settings, dataset.spec)
            if not quiet:
                print(f"resuming {run.path} at step {step}", file=sys.stderr)
        if not quiet:
            named = f", loss {settings.loss.key}" if settings.loss else ""
            print(
                f"training {settings.model.key} on {dataset.spec.name} ({len(dataset):,} samples){named}, "
                f"{settings.train.precision}",
                file=sys.stderr,
            )
            print(f"run folder: {run.path}", file=sys.stderr)
        fit(settings, run, load_registry(), dataset, quiet=quiet, from_step=from_step, profile=profile)
    return run


def prepare(
    plugin: str | None = None,
    *,
    data: DataName | None = None,
    steps: int | None = None,
    loss: str | None = None,
    regularizers: Sequence[str] = (),
    trackers: Sequence[str] = (),
    without: Sequence[str] = (),
    preset: str | None = None,
    config: str | PathLike[str] | Mapping[str, Any] | None = None,
    sets: Sequence[str] = (),
    seed: int | None = None,
    device: str | None = None,
    deterministic: bool | None = None,
    out: str | PathLike[str] | None = None,
    generator: Name | None = None,
    from_: Name | None = None,
    resume: Name | None = None,
    from_step: int | None = None,
    quiet: bool = False,
) -> Prepared:
    """Do all that :func:`train` does before the first step, and write nothing; the arguments are the same.

    Raises :class:`~ganzoo.UserError` for whatever would end the training in its first step.
    """
    registry, chosen = choose_data(load_registry(), data)
    flags: dict[str, Any] = {"steps": steps, "seed": seed, "device": device, "deterministic": deterministic}
    flags = {key: value for key, value in flags.items() if value is not None}
    flags |= overlay({"tracker": {name: {} for name in trackers}}, _left_out(registry, without))
    if resume is not None:
        run = Run.open(resume)
        # Data that was given as an object is not in the run: it has to be given again, and nothing else can be.
        given = {"name": GIVEN_NAME}
        again = chosen == given == run.document().get("data")
        fixed: dict[str, object] = {"plugin": plugin, "data": None if again else data, "loss": loss}
        fixed["regularizer"] = regularizers or None
        fixed |= {"preset": preset, "config": config, "seed": seed, "out": out, "generator": generator, "from": from_}
        if named := [name for name, value in fixed.items() if value is not None]:
            raise UserError(f"--{named[0]} cannot change a run that is resumed; leave it out, or start a new run")
        # Without the lock, a training of another process could change the run while it is read. A Run object comes from
        # train(), which holds its lock already.
        with nullcontext() if isinstance(resume, Run) else run.locked():
            return _prepare_resumed(registry, run, sets, flags, from_step, quiet)
    if from_step is not None:
        raise UserError("--from-step goes back in a run that is resumed: give --resume RUN too")
    flags |= {"data": chosen} if chosen else {}
    flags |= {"loss": {"name": loss}} if loss is not None else {}
    if regularizers:
        flags["regularizer"] = {name: {} for name in regularizers} | flags.get("regularizer", {})
    if generator is not None:
        flags = overlay(_of_generator(Run.open(generator)), flags)
    if from_ is not None:  # all of it: a config file may say what another source was
        flags["source"] = {"name": text_of(from_), "format": "", "sha256": "", "step": 0, "license": ""}
    resolved = load_config(registry, plugin, preset=preset, file=config, sets=sets, flags=flags)
    dataset = resolved.build_dataset()
    weights = None
    if resolved.train.source is not None:
        weights = open_source(resolved.train.source, registry)
        resolved = resolved.with_source(weights.source)
    return Prepared(rehearse(resolved, dataset, weights, quiet=quiet), dataset, 0)


def _prepare_resumed(
    registry: Registry, run: Run, sets: Sequence[str], flags: Mapping[str, Any], from_step: int | None, quiet: bool
) -> Prepared:
    path = run.path
    source = run.document().get("source")
    if isinstance(source, dict) and source.get("format"):
        raise UserError(
            f"{path} was imported, so there is no training that could go on; start one from its weights with: "
            f"ganzoo train --plugin {run.document().get('plugin')} --from {path}"
        )
    before, config = run.config(registry), run.config(registry, sets=sets, flags=flags)
    _refuse_changes(before, config)
    if from_step is None:
        last = checkpoint.latest(run.checkpoints)
    else:
        last = checkpoint.find(run.checkpoints, from_step)
    step, _ = checkpoint.load_state(last)
    # A training that was killed after its last checkpoint may lack its card, curves or grid: they are written now.
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
    trainer = config.build_trainer(dataset.spec)
    if trainer.stages and [*trainer.stages] != [*before.build_trainer(dataset.spec).stages]:
        raise UserError(
            f"{config.model.key} grows after so many samples, so that a resumed run takes as many a step: batch_size "
            f"times accumulate is {before.train.batch_size * before.train.accumulate}"
        )
    Loop(trainer, dataset, config.train).restore(last)
    return Prepared(config, dataset, step)


def _left_out(registry: Registry, names: Sequence[str]) -> dict[str, Any]:
    """Return a config layer that leaves out the regularizers, metrics and trackers of these names."""
    layer: dict[str, dict[str, Any]] = {}
    for name in names:
        kinds: tuple[Kind, ...] = ("regularizer", "metric", "tracker")
        known = {
            kind: [each for entry in registry.specs(kind) for each in (entry.spec.key, entry.name)] for kind in kinds
        }
        found = [kind for kind in kinds if name in known[kind]]
        if not found:
            close = did_you_mean(name, [each for kind in kinds for each in known[kind] if "/" not in each])
            raise UserError(f"--without takes a regularizer, a metric or a tracker, not {name!r}{close}")
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


def _complete(run: Run, step: int) -> bool:
    """Return whether all files exist that a training writes after its last checkpoint."""
    files = (run.samples / f"{step:06d}.png", run.path / "losses.png", run.path / "progress.gif")
    return all(file.is_file() for file in files) and is_current(run, step, step)


def _refuse_changes(before: Config, after: Config) -> None:
    """Raise :class:`UserError` where a setting has changed whose value is fixed by the checkpoint.

    Paths may change, since folders are moved.
    """
    old, new = flat(before.to_dict()), flat(after.to_dict())
    for place in paths(after.model.settings, "model"):
        old.pop(place, None)
        new.pop(place, None)
    for name in sorted(old.keys() | new.keys()):
        section = name.partition(".")[0]
        fixed = section in ("plugin", "seed", "source", "model", "loss", "regularizer") or name == "data.name"
        if fixed and old.get(name) != new.get(name):
            raise UserError(f"{name!r} cannot change in a run that is resumed; leave it out, or start a new run")
