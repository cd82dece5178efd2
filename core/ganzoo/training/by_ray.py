"""Starting the processes of a training by Ray Train, on this machine or on those of a Ray cluster."""

from __future__ import annotations

import json
import os
import signal
import sys
import tempfile
import threading
import uuid
from collections.abc import Mapping
from contextlib import redirect_stdout, suppress
from pathlib import Path
from types import FrameType
from typing import Any

from ganzoo.errors import EndedElsewhere, GanzooError, Interrupted, UserError, sentence
from ganzoo.training.engine import TIMEOUT, patience
from ganzoo.training.signals import STOP
from ganzoo_runtime.text import counted

__all__ = ["train_by_ray"]

_RESTARTS = 3
"""How often Ray starts all processes again when one has died."""

_SETTINGS = {
    "RAY_USAGE_STATS_ENABLED": "0",  # they would be sent elsewhere
    "RAY_worker_niceness": "0",  # of 15 elsewise, so that any other process goes before
    "RAY_TRAIN_ENABLE_PRINT_PATCH": "0",  # each line would be there twice
    "RAY_TRAIN_ENABLE_PREEMPTION_WATCHER": "0",  # nothing here asks it
}
"""Environment variables of Ray that are set unless they are already."""

_OBJECTS = 2**27
"""Bytes that Ray may keep on this machine for objects that its processes share; ours share none."""


def train_by_ray(processes: int, asked: Mapping[str, Any]) -> Path:
    """Train in so many processes that Ray starts, and return the run folder; ``asked`` is what ``train`` takes.

    They are on the cluster that ``RAY_ADDRESS`` names, or else on this machine. Ray connects the processes, and the
    training uses that connection. Where a process dies, Ray starts all again, and they go on with the run that they
    had begun, from its last checkpoint. They work in the folder that this process is in, which all machines of a
    cluster have to see.

    Raises :class:`~ganzoo.UserError` if Ray is not installed, not found, or has too few GPUs or cores; what ends the
    training; and :class:`~ganzoo.Interrupted` on SIGINT and SIGTERM, after a checkpoint, or at once on a second one.
    """
    for name, value in _SETTINGS.items():
        os.environ.setdefault(name, value)
    try:
        import ray
        from ray.train import FailureConfig, LoggingConfig, RunConfig, ScalingConfig
        from ray.train.torch import TorchConfig, TorchTrainer
    except ImportError:
        raise UserError("--launcher ray needs Ray Train: pip install 'torch-ganzoo[ray]'") from None
    timeout = patience()
    address = os.environ.get("RAY_ADDRESS")
    small = {"num_cpus": processes, "object_store_memory": _OBJECTS, "include_dashboard": False}
    try:
        ray.init(
            address or "local",
            log_to_driver=not asked["quiet"],
            # Beside what the training says, only what is wrong.
            logging_config=ray.LoggingConfig(log_level="ERROR"),
            **{} if address else small,
        )
    except Exception as error:  # Ray raises this very class where its own processes do not come up in time
        said = f"RAY_ADDRESS={address} names no Ray cluster" if address else "Ray does not start on this machine"
        raise UserError(f"{said}: {sentence(error)[:200]}") from None
    there = ray.cluster_resources()
    kind = "GPU" if "GPU" in there else "CPU"
    if (count := int(there.get(kind, 0))) < processes:
        raise UserError(f"Ray has {counted(count, kind)}, and each of {processes} processes takes one")
    with tempfile.TemporaryDirectory(prefix=".ray-", dir=Path.cwd()) as folder:
        result, stop = Path(folder, "result.json"), Path(folder, "stop")
        trainer = TorchTrainer(
            _work,
            train_loop_config={
                "asked": dict(asked),
                "result": str(result),
                "folder": os.getcwd(),
                "launch": f"ray-{uuid.uuid4().hex}",
                TIMEOUT: str(timeout),
                STOP: str(stop),
            },
            # Gradients go by NCCL where there are GPUs; what is agreed on in each step, by gloo.
            torch_config=TorchConfig("cpu:gloo,cuda:nccl" if kind == "GPU" else "gloo", timeout_s=timeout),
            scaling_config=ScalingConfig(num_workers=processes, use_gpu=kind == "GPU"),
            run_config=RunConfig(
                name="ganzoo",
                storage_path=folder,
                failure_config=FailureConfig(max_failures=_RESTARTS),
                logging_config=LoggingConfig("ERROR"),
            ),
        )
        number = 0
        failures: list[str] = []

        def end(received: int, frame: FrameType | None) -> None:
            nonlocal number
            if number:
                sys.exit()
            number = received
            stop.touch()

        def fit() -> None:
            try:
                trainer.fit()
            except Exception as error:  # of Ray's many, whatever is left when all restarts are used up
                failures.append(sentence(error)[:300])

        for each in (signal.SIGINT, signal.SIGTERM):
            signal.signal(each, end)
        # In the main thread Ray takes Ctrl-C for itself, and ends the processes. What it has to say is no output.
        fitting = threading.Thread(target=fit, daemon=True)
        with redirect_stdout(sys.stderr), suppress(SystemExit):
            fitting.start()
            fitting.join()
        if failures:
            raise EndedElsewhere(f"Ray has ended the training: {failures[0]}", 1, said=False)
        found = json.loads(result.read_text(encoding="utf-8")) if result.is_file() else None
    if found is None:
        why = "stopped; a run that has a checkpoint goes on from it with: ganzoo train --resume"
        raise Interrupted(why, number or signal.SIGINT)
    if "run" not in found and number:
        raise Interrupted(found["why"], number)
    if "run" not in found:
        raise EndedElsewhere(found["why"], found["code"], said=False)
    return Path(found["run"])


def _work(config: Mapping[str, Any]) -> None:
    """Train in one of the processes; a mistake is no failure, which Ray would answer by starting again."""
    from ganzoo.training.train import train

    os.chdir(config["folder"])
    # By this the run is found again after a restart; the first time there is none of that name.
    os.environ |= {"TORCHELASTIC_RUN_ID": config["launch"], "TORCHELASTIC_RESTART_COUNT": "1"}
    os.environ |= {TIMEOUT: config[TIMEOUT], STOP: config[STOP]}
    try:
        found: dict[str, Any] = {"run": str(train(**config["asked"]).path.resolve())}
    except GanzooError as error:
        found = {"why": str(error), "code": error.exit_code}
        if error.said:
            return  # by the process that it has come from
    if "run" not in found or os.environ["RANK"] == "0":
        Path(config["result"]).write_text(json.dumps(found), encoding="utf-8")
