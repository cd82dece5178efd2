"""Weights & Biases (https://wandb.ai), on its server or in files that ``wandb sync`` sends later."""

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any, Literal
from uuid import uuid4

from pydantic import Field

from ganzoo import Tracker, TrackerConfig, UserError


class WandBConfig(TrackerConfig):
    """Settings of Weights & Biases; its own environment variables, such as WANDB_API_KEY, are read too."""

    project: str = Field("ganzoo", description="project that the runs are in")
    entity: str | None = Field(None, description="user or team; left out: that of the API key")
    mode: Literal["online", "offline"] | None = Field(
        None,
        description="offline: into wandb/ beside the runs, for 'wandb sync'; left out: WANDB_MODE, or online",
    )


class WandB(Tracker[WandBConfig]):
    """A run of Weights & Biases for each run folder, with its name; a resumed one goes on with it."""

    def __init__(self, config: WandBConfig) -> None:
        super().__init__(config)
        if find_spec("wandb") is None:
            raise UserError("the tracker wandb needs a package; pip install 'torch-ganzoo[wandb]'")

    def start(self, run: Path, config: Mapping[str, Any], step: int) -> None:
        import wandb

        # The id is kept in the run folder: names of folders are used again, on other machines too.
        kept = run / "wandb-id.txt"
        if step == 0 or not kept.is_file():
            kept.write_text(f"{uuid4().hex[:8]}\n", encoding="utf-8")
        self.run = wandb.init(
            project=self.config.project,
            entity=self.config.entity,
            mode=self.config.mode,
            # Not the run folder: there are links among the files, and no training writes near one. Absolute, since the
            # process that writes may be older than this training, and in another folder.
            dir=run.parent.absolute(),
            name=run.name,
            id=kept.read_text(encoding="utf-8").strip(),
            resume="allow",
            config=dict(config),
            settings=wandb.Settings(console="off", silent=True),
        )
        # Steps that are told again, after a checkpoint, replace those before in every chart: wandb's own counter only
        # goes up.
        self.run.define_metric("step", hidden=True)
        self.run.define_metric("*", step_metric="step")

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        self.run.log({**metrics, "step": step})

    def samples(self, step: int, path: Path) -> None:
        from wandb import Image

        self.run.log({"samples": Image(str(path)), "step": step})

    def finish(self, step: int, outcome: str) -> None:
        self.run.finish(exit_code=0 if outcome == "done" else 1)
