"""What a run that is resumed may change, and the record of what it has changed."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from ganzoo.config.config import Choice, Config
from ganzoo.config.data_choice import GIVEN_NAME
from ganzoo.config.merging import flat
from ganzoo.config.validation import paths
from ganzoo.data.dataset import Dataset, DataSpec, content_hash
from ganzoo.errors import UserError
from ganzoo.runs.run import Run
from ganzoo_runtime.text import counted

__all__ = ["described", "record_changes", "refuse_changes", "refuse_other_data"]

_FIXED = ("plugin", "seed", "source", "model", "loss", "regularizer", "data")


def refuse_changes(before: Config, after: Config) -> None:
    """Raise :class:`UserError` where a setting has changed whose value is fixed by the checkpoint.

    Learning rates may change, whose optimizers keep their moments, and paths, since folders are moved.
    """
    moved = {*paths(after.model.settings, "model"), *paths(after.data.settings, "data")}
    for name, _, _ in _differences(before, after):
        free = name.partition(".")[0] not in _FIXED or name in moved or _is_rate(name)
        if not free:
            rates = [each for each in flat({"model": after.model.settings.model_dump()}) if _is_rate(each)]
            raise UserError(
                f"{name!r} cannot change in a run that is resumed; leave it out, or start a new run; what may change: "
                f"{', '.join([*rates, 'metrics', 'trackers'])}, where the data lies, and what every training has but "
                f"seed and source, such as steps, batch_size, ema, lr_schedule and sample_every"
            )


def described(data: Choice, dataset: Dataset) -> DataSpec:
    """Return the data's spec with the hash of its content, unless that follows from the settings."""
    if data.entry.name != GIVEN_NAME and not [*paths(data.settings, "data")]:
        return dataset.spec
    return replace(dataset.spec, content=content_hash(dataset))


def refuse_other_data(run: Run, data: Choice, dataset: Dataset) -> None:
    """Raise :class:`UserError` if the data is other than what the run began with, wherever it lies now."""
    before = run.data_spec()
    if dataset.spec == before and before.content in ("", described(data, dataset).content):
        return
    then, now = "other shapes or classes", "these"
    if before.size != len(dataset):
        then, now = counted(before.size, "sample"), f"{len(dataset):,}"
    elif dataset.spec == before:
        then, now = "other samples, or another order of them", "these"
    raise UserError(
        f"the data of {run.path} has changed since the run began ({then} then, {now} now); give it back what it had, "
        f"or start a new run with --config {run.path / 'config.toml'}"
    )


def record_changes(run: Run, before: Config, after: Config, step: int) -> None:
    """Note each setting that differs, from which step on, in events.jsonl."""
    for name, old, new in _differences(before, after):
        said = f"{name}: {_said(old)} becomes {_said(new)}"
        facts = {key: value for key, value in (("from", old), ("to", new)) if value is not None}
        run.note(step, "setting", said, setting=name, **facts)


def _differences(before: Config, after: Config) -> list[tuple[str, Any, Any]]:
    """Return the settings that differ by their dotted names, with both values; None is unset."""
    old, new = flat(before.to_dict()), flat(after.to_dict())
    # Settings that only one of them has follow from others that differ, such as another optimizer.
    names = sorted(old.keys() | new.keys(), key=lambda name: ((name in old) != (name in new), name))
    pairs = ((name, old.get(name), new.get(name)) for name in names)
    return [(name, was, now) for name, was, now in pairs if was != now]


def _is_rate(name: str) -> bool:
    section, _, setting = name.partition(".")
    return section == "model" and (setting.endswith("_lr") or setting.rpartition(".")[2] == "lr")


def _said(value: Any) -> str:
    return "unset" if value is None else str(value)[:200]
