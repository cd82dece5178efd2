"""Training from the names of plugins and their settings, as ``ganzoo train`` does."""

from __future__ import annotations

import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack, nullcontext, suppress
from os import PathLike
from pathlib import Path
from typing import Any, NamedTuple

from ganzoo.config.config import Config
from ganzoo.config.data_choice import GIVEN_NAME, DataName, choose_data, recorded_data
from ganzoo.config.resolving import load_config, overlay
from ganzoo.config.train_settings import Source
from ganzoo.config.validation import validate
from ganzoo.data.dataset import Dataset
from ganzoo.errors import UserError, did_you_mean, lists, path_of
from ganzoo.plugin.registry import Registry, load_registry
from ganzoo.plugin.spec import Kind
from ganzoo.runs import checkpoint
from ganzoo.runs.card import is_current
from ganzoo.runs.naming import ROOT, Name, text_of
from ganzoo.runs.run import Run
from ganzoo.terminal import print
from ganzoo.training.changes import described, record_changes, refuse_changes, refuse_other_data
from ganzoo.training.engine import Place, connected
from ganzoo.training.fit import fit
from ganzoo.training.loop import Loop
from ganzoo.training.process import alone
from ganzoo.training.rehearsal import rehearse
from ganzoo.training.sources import open_source
from ganzoo_runtime.text import counted

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
    (``.safetensors``, or an ``.onnx`` as far as the export has kept them). A run or a model of the zoo also says what
    is not given: the model, and of the same model its settings, the optimizer's among them, its loss, regularizers and
    data; an ``.onnx`` says the model alone. Steps, batch size, schedules and whatever else a training has are its own.
    What fits by name and shape is loaded into all networks, averaged ones from averages, and what does not is reported;
    in lists of layers that images of another size make longer or shorter, layers are counted from the last where more
    fits. Optimizers start afresh, and steps at 0. The setting ``freeze_discriminator`` keeps layers as they are.

    With ``resume``, a :class:`~ganzoo.Run`, its path, its number or ``"last"``, that run goes on from its last
    checkpoint, or from that of ``from_step``; later ones are then deleted. ``steps``, ``device``, ``deterministic``,
    ``trackers``, ``without`` and ``sets`` may change it, nothing else. If its data was given as an object, ``data`` is
    to be given again.

    With ``profile`` some steps of the same training are profiled first: what they spend their time on goes to stderr,
    and a trace into the run folder; see :func:`ganzoo.training.profile.profile`.

    Where a launcher has started several processes (torchrun, Slurm's srun), each calls this, and they share every
    batch; see docs/several-gpus.md. After a restart by torchrun they go on with the run that they had begun.

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
    asked: dict[str, Any] = {"data": data, "steps": steps, "loss": loss, "regularizers": regularizers}
    asked |= {"trackers": trackers, "without": without, "preset": preset, "config": config, "sets": sets, "seed": seed}
    asked |= {"device": device, "deterministic": deterministic, "out": out, "generator": generator, "from_": from_}
    asked |= {"from_step": from_step, "quiet": quiet}
    with alone(), connected() as (engine, place), ExitStack() as stack:
        begun: list[tuple[Run, Prepared]] = []

        def begin() -> dict[str, str]:
            begun.append(_begin(plugin, asked, root, None if resume is None else Run.open(resume), place, stack))
            return {"run": str(begun[0][0].path.resolve())}

        # The first process decides which run it is, and tries everything once; it alone says what is wrong.
        path = engine.decide(begin)["run"]
        if not begun:
            run = Run.open(path)
            begun.append((run, _prepared(run, data)))
        run, (settings, dataset, _) = begun[0]
        registry = load_registry()
        fit(settings, run, registry, dataset, quiet=quiet, from_step=from_step, profile=profile, engine=engine)
    return run


def _begin(
    plugin: str | None, asked: Mapping[str, Any], root: Path, run: Run | None, place: Place | None, stack: ExitStack
) -> tuple[Run, Prepared]:
    """Make the run folder of a training, or open that which goes on; its lock is held in the stack."""
    if place is not None and place.restarted and run is None:
        run = _launched(root, place.launch)
        if run is not None:
            stack.enter_context(run.locked())
            prepared = _prepared(run, asked["data"])
            _refuse_uneven(prepared, place)
            return run, prepared
    if run is not None:
        stack.enter_context(run.locked())
    prepared = prepare(plugin, **asked, resume=run)
    registry, _ = choose_data(load_registry(), asked["data"])
    settings, dataset, step = prepared
    if place is not None:
        _refuse_uneven(prepared, place)
    if run is None:
        launch = "" if place is None else place.launch
        run = Run.create(root, settings, described(settings.data, dataset), launch)
        stack.enter_context(run.locked())
    else:
        record_changes(run, run.config(registry), settings, step)
        run.write_config(settings, run.data_spec())
        if not asked["quiet"]:
            print(f"resuming {run.path} at step {step}", file=sys.stderr)
    if not asked["quiet"]:
        named = f", loss {settings.loss.key}" if settings.loss else ""
        processes = f", {place.world} processes" if place is not None and place.world > 1 else ""
        print(
            f"training {settings.model.key} on {dataset.spec.name} ({counted(len(dataset), 'sample')}){named}, "
            f"{settings.train.precision}{processes}",
            file=sys.stderr,
        )
        print(f"run folder: {run.path}", file=sys.stderr)
    return run, prepared


def _prepared(run: Run, data: DataName | None) -> Prepared:
    """Return what another process, or one before this, has prepared and written into the run folder."""
    registry, _ = choose_data(load_registry(), data)
    config = run.config(registry)
    return Prepared(config, config.build_dataset(), 0)


def _launched(root: Path, launch: str) -> Run | None:
    """Return the run that an earlier start of these processes has made, so that they go on with it."""
    for path in sorted(root.glob("*/config.toml"), reverse=True):
        run = Run(path.parent)
        with suppress(UserError):
            if run.document().get("environment", {}).get("launch") == launch:
                return run
    return None


def _refuse_uneven(prepared: Prepared, place: Place) -> None:
    """Raise :class:`UserError` if a batch cannot be divided among the processes, or a setting is for one alone."""
    config, dataset, _ = prepared
    if place.world == 1:
        return
    if config.train.capture is True:
        raise UserError("capture=true is for one process, as a CUDA graph holds no exchange; take capture=auto")
    size, least = config.train.batch_size, place.world * config.build_trainer(dataset.spec).batch_multiple
    if size % least:
        raise UserError(
            f"{place.world} processes share a batch in equal parts, so that batch_size is a multiple of {least}, not "
            f"{size}; take --set batch_size={max(size // least, 1) * least}, or another number of processes"
        )


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
        if run.which:
            raise UserError(f"--resume takes a run, not {run}; --from-step says which checkpoint it goes on from")
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
    weights = None
    if from_ is not None:
        weights = open_source(validate(Source, "source", {"name": text_of(from_)}), registry)
        flags["source"] = weights.source.model_dump()  # all of it: a config file may say what another source was
    known = None if weights is None else weights.config
    resolved = load_config(registry, plugin, preset=preset, file=config, sets=sets, flags=flags, source=known)
    dataset = resolved.build_dataset()
    if resolved.train.source is not None:
        weights = weights or open_source(resolved.train.source, registry)
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
            f"ganzoo train --from {path} --data FOLDER"
        )
    before, config = run.config(registry), run.config(registry, sets=sets, flags=flags)
    refuse_changes(before, config)
    if from_step is None:
        last = checkpoint.latest(run.checkpoints)
    else:
        last = checkpoint.find(run.checkpoints, from_step)
    step, _ = checkpoint.load_state(last)
    # A training that was killed after its last checkpoint may lack its card, curves or grid: they are written now.
    if step > config.train.steps or (step == config.train.steps and (from_step is not None or _complete(run, step))):
        raise UserError(f"{path} is trained to its last step, {step}; give more with --steps")
    dataset = recorded_data(config.data)
    refuse_other_data(run, config.data, dataset)
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
