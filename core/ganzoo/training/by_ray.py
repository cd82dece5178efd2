"""Starting the processes of a training by Ray Train, on this machine or on those of a Ray cluster."""

from __future__ import annotations

import json
import os
import tempfile
import uuid
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from ganzoo.errors import EndedElsewhere, GanzooError, UserError

__all__ = ["train_by_ray"]

_RESTARTS = 3
"""How often Ray starts all processes again when one has died."""


def train_by_ray(processes: int, asked: Mapping[str, Any]) -> Path:
    """Train in so many processes that Ray starts, and return the run folder; ``asked`` is what ``train`` takes.

    Ray connects the processes, and the training uses that connection. Where a process dies, Ray starts all again, and
    they go on with the run that they had begun, from its last checkpoint. They work in the folder that this process is
    in, which all machines of a cluster have to see.

    Raises :class:`~ganzoo.UserError` if Ray is not installed or has too few GPUs or cores, and what ends the training.
    """
    try:
        import ray
        from ray.train import FailureConfig, RunConfig, ScalingConfig
        from ray.train.torch import TorchConfig, TorchTrainer
    except ImportError:
        raise UserError("--launcher ray needs Ray Train: pip install 'torch-ganzoo[ray]'") from None
    ray.init(ignore_reinit_error=True, log_to_driver=not asked.get("quiet"), logging_level="ERROR")
    gpu = "GPU" in ray.cluster_resources()
    there = int(ray.cluster_resources().get("GPU" if gpu else "CPU", 0))
    if there < processes:
        raise UserError(f"Ray has {there} {'GPUs' if gpu else 'cores'}, and each of {processes} processes takes one")
    with tempfile.TemporaryDirectory(prefix=".ray-", dir=Path.cwd()) as folder:
        result = Path(folder, "result.json")
        config = {
            "asked": dict(asked),
            "result": str(result),
            "folder": os.getcwd(),
            "launch": f"ray-{uuid.uuid4().hex}",
        }
        trainer = TorchTrainer(
            _work,
            train_loop_config=config,
            # Gradients go by NCCL where there are GPUs; what is agreed on in each step, by gloo.
            torch_config=TorchConfig(backend="cpu:gloo,cuda:nccl" if gpu else "gloo"),
            scaling_config=ScalingConfig(num_workers=processes, use_gpu=gpu),
            run_config=RunConfig(
                name="ganzoo", storage_path=folder, failure_config=FailureConfig(max_failures=_RESTARTS)
            ),
        )
        try:
            trainer.fit()
        except Exception as error:  # of Ray's many, whatever is left when all restarts are used up
            raise EndedElsewhere(f"Ray has ended the training: {str(error)[:300]}", 1, said=False) from None
        found = json.loads(result.read_text(encoding="utf-8"))
    if "run" not in found:
        raise EndedElsewhere(found["why"], found["code"], said=False)
    return Path(found["run"])


def _work(config: Mapping[str, Any]) -> None:
    """Train in one of the processes; a mistake is no failure, which Ray would answer by starting again."""
    from ganzoo.training.train import train

    os.chdir(config["folder"])
    # By this the run is found again after a restart; the first time there is none of that name.
    os.environ |= {"TORCHELASTIC_RUN_ID": config["launch"], "TORCHELASTIC_RESTART_COUNT": "1"}
    torch.set_num_threads(int(os.environ.get("OMP_NUM_THREADS", "1")))
    try:
        found: dict[str, Any] = {"run": str(train(**config["asked"]).path.resolve())}
    except GanzooError as error:
        found = {"why": str(error), "code": error.exit_code}
        if error.said:
            return  # by the process that it has come from
    if "run" not in found or os.environ["RANK"] == "0":
        Path(config["result"]).write_text(json.dumps(found), encoding="utf-8")
