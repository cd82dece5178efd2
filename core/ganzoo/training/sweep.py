"""Training a model with many settings, one run folder each, and comparing them."""

from __future__ import annotations

import json
import logging
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack
from dataclasses import replace
from itertools import chain
from os import PathLike
from pathlib import Path
from typing import Any, Literal

from pydantic import TypeAdapter

from ganzoo.config.config import Config
from ganzoo.config.data_choice import choose_data
from ganzoo.errors import Interrupted, UserError, at_least, lists, one_of, path_of, sentence
from ganzoo.files import read_json
from ganzoo.files.locks import Lock
from ganzoo.plugin.registry import Registry, load_registry
from ganzoo.runs import checkpoint
from ganzoo.runs.naming import next_number
from ganzoo.runs.run import Run
from ganzoo.terminal import print
from ganzoo.training.best import Best, behind, refuse_unknown
from ganzoo.training.engine import found_place
from ganzoo.training.search import Proposals, Space, as_sets, parse_space, propose
from ganzoo.training.train import prepare, train
from ganzoo.training.trials import FILE, Sweep, Trial

__all__ = ["sweep"]

log = logging.getLogger("ganzoo")


def sweep(
    plugin: str,
    *,
    over: Sequence[str],
    method: Literal["grid", "random", "tpe"] = "grid",
    trials: int | None = None,
    metric: str | None = None,
    out: str | PathLike[str] | None = None,
    sweep_seed: int = 0,
    prune: bool = False,
    retry: bool = False,
    sets: Sequence[str] = (),
    quiet: bool = False,
    **asked: Any,
) -> Sweep:
    """Train a model with many settings, and return the trials, the figure of each, and the folder of their runs.

    ``over`` are settings with their values: ``"model.width=8,16"``, or with a range for ``method`` ``"random"`` and
    ``"tpe"``: ``"model.optimizer.lr=1e-5..1e-3:log"``. ``"grid"`` takes all combinations, the others so many
    ``trials``, 16 by default; random ones depend on ``sweep_seed``, and ``"tpe"`` is Optuna's estimator of what comes
    next, an extra. They are compared by the best figure of ``metric``, which becomes the setting ``keep_best``; left
    out, it is the first metric of the training that has a direction. ``sets`` and other arguments are those of
    :func:`ganzoo.train`, the same for all.

    Each trial is an ordinary run in the folder ``out``, by default ``sweeps/MODEL``, where sweep.json, sweep.csv and
    sweep.png are too. The same call goes on in the same folder where it was stopped, a trial that was begun from its
    last checkpoint, and further values or trials are added. A trial that fails is noted, and the next one begins; with
    ``retry`` those that failed are trained again.

    With ``prune`` a trial ends at an evaluation after which its best figure is worse than the median of what those that
    were trained to their end had after the same step, once there are five of these. This is the rule of Optuna's
    ``MedianPruner``.

    Raises :class:`~ganzoo.UserError` for what no trial could be trained with, and if another sweep lies in the folder;
    :class:`~ganzoo.Interrupted` after a signal.
    """
    lists(over=over, sets=sets)
    one_of("method", method, ("grid", "random", "tpe"))
    at_least("trials", trials, 1)
    space, count = parse_space(over), trials or (None if method == "grid" else 16)
    if (place := found_place()) is not None and place.world > 1:
        raise UserError("a sweep trains in one process; start it without torchrun")
    folder = path_of("out", out if out is not None else Path("sweeps", plugin.rpartition("/")[2]))
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"cannot write to {folder}: {error.strerror or error}; choose another --out") from None
    lock = Lock(folder / "sweep.lock")
    if (owner := lock.acquire()) is not None:
        raise UserError(f"{folder} is being swept by {owner}; wait until it has ended, or choose another --out")
    with ExitStack() as stack:
        stack.callback(lock.release)
        registry, _ = choose_data(load_registry(), asked.get("data"))
        base = {"plugin": plugin, "sets": [*sets], "method": method, "seed": sweep_seed, **asked}
        found = _opened(folder, base) or _begun(folder, base, space, metric, plugin, sets, asked)
        if metric is not None and found.metric.partition("/")[0] != metric and found.metric != metric:
            raise UserError(f"the trials in {folder} are compared by {found.metric}; choose another --out")
        if retry:
            found.trials = [trial for trial in found.trials if trial.status != "failed"]
        plan = propose(space, method, count, sweep_seed)
        if method == "tpe":
            plan = _proposed(found, Proposals(space, found.better, sweep_seed), count or 0)
        if prune and not found.metric:
            raise UserError("--prune compares trials by a figure, and there is none; name it with --metric")
        kept = [f"keep_best={found.metric}"] if found.metric else []
        # A trial that was begun when the sweep was stopped comes first.
        for settings in chain([trial.settings for trial in found.trials if trial.status == "begun"], plan):
            same = next((trial for trial in found.trials if trial.settings == settings), None)
            if same is not None and same.status != "begun":
                continue
            trial = same or Trial(settings, run=f"{next_number(folder):04d}")
            found.note(trial)
            if not quiet:
                print(f"trial {len(found.trials)}: {', '.join(as_sets(settings))}", file=sys.stderr)
            with behind(found.medians() if prune else {}):
                ended = _trained(found, trial, registry, plugin, [*kept, *sets, *as_sets(settings)], quiet, asked)
            found.note(ended)
        found.finish()
    return found


def _proposed(found: Sweep, proposals: Proposals, count: int) -> Iterator[dict[str, Any]]:
    """Yield what Optuna proposes after each trial, until there are so many; what was there already is passed over."""
    for repeats in range(100 * count):
        if len(found.trials) >= count:
            return
        yield proposals([(trial.settings, trial.value) for trial in found.trials], repeats)


def _opened(folder: Path, base: Mapping[str, Any]) -> Sweep | None:
    """Return the sweep of a folder; None if there is none. Raises :class:`UserError` if it is another, or damaged."""
    path = folder / FILE
    if not path.exists():
        return None
    document = read_json(path)
    try:
        trials = [_Trials.validate_python(each) for each in document["trials"]]
        found = Sweep(folder, str(document["metric"]), str(document["better"]), dict(document["asked"]), trials)
    except (TypeError, KeyError, ValueError):
        raise UserError(f"{path} is damaged; choose another --out") from None
    asked = _plain(base)
    if changed := [key for key in {**asked, **found.asked} if found.asked.get(key) != asked.get(key)]:
        raise UserError(f"{folder} holds a sweep with another {changed[0]}; choose another --out")
    return found


_Trials = TypeAdapter(Trial)


def _begun(
    folder: Path,
    base: Mapping[str, Any],
    space: Space,
    metric: str | None,
    plugin: str,
    sets: Sequence[str],
    asked: Mapping[str, Any],
) -> Sweep:
    """Return a new sweep, after a trial that its first or its last values can be trained."""
    config, errors = None, list[UserError]()
    for which in (0, -1):
        settings = {
            name: values[which] if isinstance(values, list) else (values.low, values.high)[which]
            for name, values in space.items()
        }
        try:
            config = prepare(plugin, sets=[*sets, *as_sets(settings)], **asked, quiet=True).config
            break
        except UserError as error:
            errors.append(error)
    if config is None:
        raise errors[0]
    name, better = _figure(config, metric or config.train.keep_best)
    found = Sweep(folder, name, better, _plain(base))
    found.save()
    return found


def _figure(config: Config, asked: str | None) -> tuple[str, str]:
    """Return the figure that trials are compared by, in full, and its direction; both empty if there is none."""
    if asked is not None:
        refuse_unknown(replace(config, train=config.train.model_copy(update={"keep_best": asked})))
    for key, choice in config.metrics.items():
        cls = choice.entry.spec.load()
        if asked is not None and "/" in asked and asked.partition("/")[0] == key:
            return asked, cls.direction(asked)
        named = [figure for figure, way in cls.better.items() if way in ("higher", "lower")]
        if named and (asked is None or asked == key):
            return f"{key}/{named[0]}".rstrip("/"), cls.better[named[0]]
    return "", ""


def _trained(
    found: Sweep,
    trial: Trial,
    registry: Registry,
    plugin: str,
    sets: Sequence[str],
    quiet: bool,
    asked: Mapping[str, Any],
) -> Trial:
    """Train a trial, from its last checkpoint if there is one, and return how it ended."""
    try:
        run = _run_of(found.path, trial)
        if run is None or not (run.checkpoints / "last").is_file():
            run = train(plugin, sets=sets, out=found.path, quiet=quiet, **asked)
        elif int(checkpoint.latest(run.checkpoints).name.removeprefix("step-")) < run.document()["steps"]:
            data = asked.get("data")  # given again where it is an object, which no run holds
            run = train(resume=run, data=None if isinstance(data, str | PathLike) else data, quiet=quiet)
        config = run.config(registry)
        classes: Any = {key: choice.entry.spec.load() for key, choice in config.metrics.items()}
        best = Best(run, config.train, classes, sys.maxsize)
        status = "pruned" if best.behind else "done"
        value = None if best.step is None else best.value
        return replace(trial, run=run.path.name, status=status, value=value, step=best.step)
    except Interrupted as error:
        sentence_ = f"stopped in trial {len(found.trials)}; the same command goes on in {found.path}"
        raise Interrupted(sentence_, error.exit_code - 128) from None
    except Exception as error:  # whatever a plugin raises with these settings
        failed = _run_of(found.path, trial)
        log.warning("trial %s has failed: %s", len(found.trials), sentence(error))
        return replace(trial, run=failed.path.name if failed else "", status="failed", error=sentence(error)[:500])


def _run_of(folder: Path, trial: Trial) -> Run | None:
    """Return the run that has the number of a trial that has begun."""
    path = next(folder.glob(f"{trial.run}-*/config.toml"), None) if trial.run else None
    return None if path is None else Run(path.parent)


def _plain(base: Mapping[str, Any]) -> dict[str, Any]:
    """Return arguments as JSON has them; data that was given as an object by its kind."""
    plain: dict[str, Any] = json.loads(
        json.dumps(base, default=lambda each: str(each) if isinstance(each, PathLike) else type(each).__name__)
    )
    return {key: value for key, value in plain.items() if value not in (None, [], ())}
