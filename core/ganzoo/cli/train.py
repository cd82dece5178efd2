"""``ganzoo train``."""

from __future__ import annotations

import os
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, Literal

import typer

from ganzoo.errors import UserError
from ganzoo.terminal import print
from ganzoo_runtime.text import counted

if TYPE_CHECKING:
    from ganzoo.config.config import Config
    from ganzoo.data.dataset import Dataset

__all__ = ["train"]


def train(
    plugin: Annotated[
        str | None, typer.Option("--plugin", "-p", help="The model; 'ganzoo list model' shows all.")
    ] = None,
    data: Annotated[
        str | None, typer.Option(help="A data set, 'ganzoo list dataset' shows all, or a folder of images.")
    ] = None,
    steps: Annotated[int | None, typer.Option(help="Generator steps.")] = None,
    loss: Annotated[str | None, typer.Option(help="The adversarial loss, instead of the model's.")] = None,
    regularizer: Annotated[list[str] | None, typer.Option(help="A regularizer to add; may be repeated.")] = None,
    tracker: Annotated[
        list[str] | None,
        typer.Option(help="A tracker to add, such as wandb; may be repeated; 'ganzoo list tracker' shows all."),
    ] = None,
    without: Annotated[
        list[str] | None,
        typer.Option(help="A regularizer, metric or tracker to leave out that comes along otherwise; may be repeated."),
    ] = None,
    preset: Annotated[str | None, typer.Option(help="A named set of settings of the model.")] = None,
    config: Annotated[Path | None, typer.Option(help="A TOML file of settings, such as a run's config.toml.")] = None,
    set_: Annotated[
        list[str] | None,
        typer.Option("--set", help="A setting, as model.width=24; may be repeated; 'ganzoo info MODEL' lists them."),
    ] = None,
    seed: Annotated[int | None, typer.Option(help="Decides weights, latents and the order of the data.")] = None,
    device: Annotated[str | None, typer.Option(help="auto, cpu, cuda or mps.")] = None,
    deterministic: Annotated[
        bool | None,
        typer.Option("--deterministic", help="The same result to the bit each time, on CUDA too; slower."),
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="The folder that run folders are made in; 'runs' if left out.")
    ] = None,
    generator: Annotated[
        str | None,
        typer.Option(
            metavar="RUN", help="The run whose generator gets an encoder, for models such as encoder_regression."
        ),
    ] = None,
    from_: Annotated[
        str | None,
        typer.Option(
            "--from",
            metavar="MODEL",
            help="Fine-tune: start from the weights of a run, zoo:NAME or a file, as far as they fit; by default with "
            "its model, and the settings, loss, regularizers and data of that, not its steps or batch size.",
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
    processes: Annotated[
        int | None,
        typer.Option(min=1, help="Train in so many processes of this machine, one a GPU, that share each batch."),
    ] = None,
    launcher: Annotated[
        Literal["torchrun", "ray"], typer.Option(help="What starts the processes; ray needs torch-ganzoo[ray].")
    ] = "torchrun",
    dry_run: Annotated[
        bool, typer.Option("--dry-run", help="Show config, data, parameters and memory, and take no step.")
    ] = False,
    profile: Annotated[
        bool, typer.Option("--profile", help="Before the training, show what 20 steps of it spend their time on.")
    ] = False,
    quiet: Annotated[bool, typer.Option("--quiet", "-q", help="Show no progress.")] = False,
) -> None:
    """Train a GAN into a new run folder, or go on with one."""
    if processes is not None and processes > 1 and not dry_run and launcher == "torchrun":
        from ganzoo.training.launch import launch

        launch(processes, sys.argv[1:])
        return

    from ganzoo.plugin.registry import load_registry
    from ganzoo.training.train import prepare, train

    asked: dict[str, Any] = {"data": data, "steps": steps, "loss": loss, "preset": preset, "config": config}
    asked |= {"regularizers": regularizer or (), "trackers": tracker or (), "without": without or ()}
    asked |= {"sets": set_ or ()}
    asked |= {
        "seed": seed,
        "device": device,
        "deterministic": deterministic,
        "out": out,
        "generator": generator,
        "from_": from_,
        "resume": resume,
    }
    asked |= {"from_step": from_step, "quiet": quiet}
    if dry_run:
        if profile:
            raise UserError("--dry-run takes no step that --profile could measure; leave one of them out")
        prepared = prepare(plugin, **asked)
        _show(prepared.config, prepared.dataset)
        return
    if launcher == "ray":
        from ganzoo.runs.run import Run
        from ganzoo.training.by_ray import train_by_ray

        run = Run.open(train_by_ray(processes or 1, {"plugin": plugin, **asked, "profile": profile}))
    else:
        run = train(plugin, **asked, profile=profile)
    if os.environ.get("RANK", os.environ.get("SLURM_PROCID", "0")) != "0":
        return  # what follows is said by the first process
    print(run.path)
    if not quiet:
        formats = [entry.spec.key for entry in load_registry().specs("format")]
        hints = [f"; export with: ganzoo export {run.path} --format {key}" for key in formats]
        print(f"samples: {run.path / 'samples'}{''.join(hints[:1])}", file=sys.stderr)


def _show(config: Config, dataset: Dataset) -> None:
    import tomli_w

    from ganzoo.data.placement import free_memory
    from ganzoo.training.devices import resolve_device
    from ganzoo.training.memory import estimate, smaller

    print(tomli_w.dumps(config.to_dict()))  # what follows is comment, so that all of it can be a --config
    fields = ", ".join(f"{field.name}: {field.describe()}" for field in dataset.spec.fields)
    print(f"# data: {dataset.spec.name}, {counted(len(dataset), 'sample')}, {fields}")
    trainer = config.build_trainer(dataset.spec)
    trainer.reach(config.train.steps - 1)  # as large as it becomes
    for name, network in trainer.networks.items():
        print(f"# {name}: {counted(sum(parameter.numel() for parameter in network.parameters()), 'parameter')}")
    for phase in trainer.phases():
        often = "every step" if phase.every == 1 else f"every {phase.every} steps"
        times = "" if phase.repeat == 1 else f" {phase.repeat} times"
        print(f"# phase {phase.name}:{times} {often}, updates {', '.join(phase.updates)}")
    device = resolve_device(config.train.device)
    size, free = estimate(trainer, dataset, config.train, device), free_memory(device)
    beside = "the CUDA context and the libraries' own" if device.type == "cuda" else "the libraries' own"
    left = "" if free is None else f"; {free / 2**20:,.0f} MiB are free"
    print(f"# memory: about {max(1, size / 2**20):,.0f} MiB on {device} beside {beside}{left}")
    if free is not None and size > free:
        less = smaller(config.train, trainer.batch_multiple)
        print(f"# warning: more than is free; take {less or 'a smaller model or smaller samples'}")
