"""The model card: a run folder's README.md, which says what was trained and how it may be used."""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from ganzoo.files import read_bytes, write_atomic
from ganzoo.runs.naming import ZOO
from ganzoo_runtime.text import counted, shown

if TYPE_CHECKING:
    from ganzoo.config.config import Config
    from ganzoo.config.train_settings import TrainSettings
    from ganzoo.data.dataset import DataSpec
    from ganzoo.gan.trainer import Trainer
    from ganzoo.runs.run import Run

__all__ = ["is_current", "write_card"]


def write_card(
    run: Run,
    config: Config,
    trainer: Trainer,
    data: DataSpec,
    step: int,
    formats: Sequence[str] = (),
    best: str = "",
) -> None:
    """Write README.md into the run folder, for the state after ``step``; it can be exported to the ``formats``.

    ``best`` says which checkpoint is the best one.
    """
    write_atomic(run.path / "README.md", shown(_card(run, config, trainer, data, step, formats, best)))


def is_current(run: Run, step: int, steps: int) -> bool:
    """Return whether the run folder has a README.md of that state, or one that somebody has rewritten."""
    path = run.path / "README.md"
    if not path.is_file():
        return False
    found = re.search(r"^- Training: (.*?) steps", read_bytes(path).decode(errors="replace"), re.MULTILINE)
    return found is None or found[1] == f"{step:,} of {steps:,}"


def _card(
    run: Run, config: Config, trainer: Trainer, data: DataSpec, step: int, formats: Sequence[str], best: str
) -> str:
    entry, settings = config.model.entry, config.train
    exports = trainer.exports(trainer.averaged_networks())
    signature = next(iter(exports.values())).signature
    size = settings.batch_size * settings.accumulate
    regularizers = "".join(f", {key}" for key in config.regularizers)
    about = {
        "Model": f"`{entry.spec.key}`: {entry.spec.summary} ({entry.distribution} {entry.version})",
        "Paper": entry.spec.paper,
        "Draws": f"{signature.output.describe()}, from {' and '.join(field.describe() for field in signature.inputs)}",
        "Data": f"{data.name}, {counted(data.size, 'sample')}",
        "Loss": f"{config.loss.key}{regularizers}" if config.loss else "",
        "Training": f"{step:,} of {counted(settings.steps, 'step')}, batches of {size}, seed {settings.seed}; "
        f"{trainer.device}",
        "Best checkpoint": f"{best} (`{run.path.name}@best`)" if best else "",
        "Started from": _source(settings),
        "Parameters": ", ".join(
            f"{name} {sum(parameter.numel() for parameter in network.parameters()):,}"
            for name, network in trainer.networks.items()
        ),
    }
    lines = [f"# {config.name}", "", *(f"- {name}: {text}" for name, text in about.items() if text), ""]
    lines += _figures(config, run.metrics())
    if events := run.events()[-20:]:
        lines += [
            "What happened:",
            "",
            *(f"- after step {each['step']:,}, {_line(each['text'])}" for each in events),
            "",
        ]
    if grids := run.grids():
        lines += [f"![samples after the last step](samples/{grids[-1].name})", ""]
    lines += [
        "## Use",
        "",
        "In the folder above this one; neither needs the training data:",
        "",
        f"    ganzoo sample {run.path.name} --out samples.png",
        *(f"    ganzoo export {run.path.name} --format {suffix}" for suffix in formats[:1]),
        "",
        "Train the same again, or go on:",
        "",
        f"    ganzoo train --config {run.path.name}/config.toml",
        f"    ganzoo train --resume {run.path.name} --steps {2 * settings.steps}",
        "",
        "## License and data",
        "",
        *_license(config, data),
    ]
    return "\n".join(lines)


def _line(text: str) -> str:
    return " ".join(text.split())[:400]


def _source(settings: TrainSettings) -> str:
    """Return what the weights started from, in words; nothing if they were random."""
    source = settings.source
    if source is None:
        return ""
    name = source.name if source.name.startswith(ZOO) else Path(source.name).name
    steps = f", trained for {counted(source.step, 'step')}" if source.step else ""
    frozen = f"; {counted(settings.freeze_discriminator, 'layer')} of the discriminator frozen"
    kind = f", imported as {source.format}" if source.format else ""
    return f"{name}{kind}{steps} (sha256 {source.sha256[:16]}){frozen if settings.freeze_discriminator else ''}"


def _license(config: Config, data: DataSpec) -> list[str]:
    source = config.train.source
    lines = [
        f"The weights are learned from {data.name}: whether they may be used and passed on is a matter of its license,",
        "and a generator can reproduce single training samples.",
    ]
    if source is not None and source.license:
        return [*lines, f"What they started from is under this license: {source.license}.", ""]
    return [*lines[:-1], f"{lines[-1]} No license is stated for the weights; add yours here.", ""]


def _figures(config: Config, rows: list[dict[str, Any]]) -> list[str]:
    """Return a table of the last value of every loss and metric, and of the memory used."""
    last: dict[str, Any] = {}
    for row in rows:
        last |= row
    shown: Mapping[str, Any] = {
        key: value
        for key, value in last.items()
        if key.endswith("/loss") or key.startswith("peak_") or key.split("/")[0] in config.metrics
    }
    if not shown:
        return []
    table = [f"| {key} | {value:.4g} |" for key, value in shown.items()]
    return ["| figure | last value |", "| --- | --- |", *table, ""]
