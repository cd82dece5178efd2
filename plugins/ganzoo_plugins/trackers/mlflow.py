"""MLflow (https://mlflow.org): a server, a database or a folder."""

from collections.abc import Mapping
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from pydantic import Field

from ganzoo import Tracker, TrackerConfig, UserError

_STATUS = {"done": "FINISHED", "interrupted": "KILLED", "failed": "FAILED"}


class MLflowConfig(TrackerConfig):
    """Settings of MLflow."""

    uri: str | None = Field(
        None, description="server, sqlite:///FILE or folder; left out: MLFLOW_TRACKING_URI, or what MLflow takes"
    )
    experiment: str = Field("ganzoo", description="experiment that the runs are in")


class MLflow(Tracker[MLflowConfig]):
    """A run of MLflow for each run folder, with its name; a resumed one goes on with it."""

    def __init__(self, config: MLflowConfig) -> None:
        super().__init__(config)
        if find_spec("mlflow") is None:
            raise UserError("the tracker mlflow needs a package; pip install 'torch-ganzoo[mlflow]'")

    def start(self, run: Path, config: Mapping[str, Any], step: int) -> None:
        from mlflow import MlflowClient

        self.client = MlflowClient(self.config.uri)
        kept = run / "mlflow-id.txt"
        if step and kept.is_file():
            self.id = kept.read_text(encoding="utf-8").strip()
            self.client.update_run(self.id, "RUNNING")
            return
        name = self.config.experiment
        known = self.client.get_experiment_by_name(name)
        experiment = self.client.create_experiment(name) if known is None else known.experiment_id
        self.id = self.client.create_run(experiment, run_name=run.name).info.run_id
        kept.write_text(f"{self.id}\n", encoding="utf-8")
        for key, value in _flat(config):
            self.client.log_param(self.id, key, value)

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        for name, value in metrics.items():
            self.client.log_metric(self.id, name, value, step=step)

    def samples(self, step: int, path: Path) -> None:
        self.client.log_artifact(self.id, str(path), "samples")

    def finish(self, step: int, outcome: str) -> None:
        self.client.set_terminated(self.id, _STATUS[outcome])


def _flat(table: Mapping[str, Any], prefix: str = "") -> list[tuple[str, Any]]:
    """Return nested tables as rows, names dotted; MLflow takes no empty values."""
    rows: list[tuple[str, Any]] = []
    for name, value in table.items():
        rows += _flat(value, f"{prefix}{name}.") if isinstance(value, Mapping) else [(f"{prefix}{name}", value)]
    return rows
