"""Run folders: what a training leaves behind, and all that sampling, export and resume need."""

import json
import platform
import re
from collections.abc import Iterable, Mapping, Sequence
from importlib import metadata
from math import isfinite
from pathlib import Path
from typing import Any

import tomli_w

from ganzoo import checkpoint
from ganzoo.config import Config, load_config
from ganzoo.data import DataSpec
from ganzoo.errors import UserError
from ganzoo.files import read_records, read_toml, write_atomic
from ganzoo.networks import Discriminator, Network
from ganzoo.registry import Registry
from ganzoo.sampling import TorchSampler

__all__ = ["Run"]


class Run:
    """A run folder, by its path."""

    def __init__(self, path: Path) -> None:
        self.path = path

    @property
    def checkpoints(self) -> Path:
        """The folder of checkpoints."""
        return self.path / "checkpoints"

    @property
    def samples(self) -> Path:
        """The folder of sample sheets."""
        return self.path / "samples"

    @classmethod
    def create(cls, root: Path, config: Config, data: DataSpec) -> "Run":
        """Make a new folder ``root/0007-model-data`` with the resolved config in it.

        Raises :class:`UserError` if it cannot be written.
        """
        try:
            root.mkdir(parents=True, exist_ok=True)
            while True:
                path = root / f"{_next_number(root):04d}-{config.name}"
                try:
                    path.mkdir()
                    break
                except FileExistsError:
                    continue  # another process took the number
        except OSError as error:
            raise UserError(f"cannot write to {root}: {error.strerror or error}; choose another --out") from None
        run = cls(path)
        run.write_config(config, data)
        return run

    @classmethod
    def open(cls, path: Path) -> "Run":
        """Open an existing folder; raises :class:`UserError` if it is none of ours."""
        if not (path / "config.toml").is_file():
            raise UserError(f"{path} is not a run folder: it has no config.toml")
        return cls(path)

    @classmethod
    def newest(cls, root: Path) -> "Run":
        """Open the newest run under ``root`` that has a checkpoint; raises :class:`UserError` if there is none."""
        runs = [path for path in _numbered(root) if (path / "checkpoints" / "last").is_file()]
        if not runs:
            raise UserError(f"there is no trained run under {root}; name one, or train first")
        return cls(max(runs, key=_number))

    def write_config(self, config: Config, data: DataSpec) -> None:
        """Write config.toml: the resolved config, the environment, and what the data looks like."""
        document = {**config.to_dict(), "environment": _environment(config), "data_spec": data.to_json()}
        write_atomic(self.path / "config.toml", tomli_w.dumps(document))

    def config(self, registry: Registry, sets: Sequence[str] = (), flags: Mapping[str, Any] | None = None) -> Config:
        """Return the config that the run was made with, settings and flags laid over it."""
        return load_config(registry, file=self.path / "config.toml", sets=sets, flags=flags)

    def document(self) -> dict[str, Any]:
        """Return config.toml as written, with the environment and the data's spec."""
        return read_toml(self.path / "config.toml")

    def data_spec(self) -> DataSpec:
        """Return what the training data looked like, without the data."""
        return DataSpec.from_json(self.document().get("data_spec", {}))

    def load(self, registry: Registry, name: str | None = None) -> tuple[Network, dict[str, Any]]:
        """Return a trained network with its averaged weights, in eval mode, and its metadata.

        ``name`` is one of those of :meth:`load_all`; the first if left out. Needs no training data.
        """
        networks = self.load_all(registry)
        if name is not None and name not in networks:
            raise UserError(f"the model of {self.path} has no {name!r}; it has: {', '.join(networks)}")
        return networks[name or next(iter(networks))]

    def load_all(self, registry: Registry) -> dict[str, tuple[Network, dict[str, Any]]]:
        """Return every network that can be used by itself, with its metadata, the main one first.

        They are what the model exports, with averaged weights, and its discriminators, with those of the last step.
        """
        path = checkpoint.latest(self.checkpoints)
        config, data = self.config(registry), self.data_spec()
        trainer = config.build_trainer(data)
        averaged = {key: trainer.networks[key] for key in trainer.averaged}
        checkpoint.load_networks(path, averaged, "ema")
        exports = dict(trainer.exports(averaged))
        judges = {key: each for key, each in trainer.networks.items() if isinstance(each, Discriminator)}
        judges = {key: each for key, each in judges.items() if key not in {*averaged, *exports}}
        checkpoint.load_networks(path, judges)
        metadata = self._metadata(config, data, path)
        return {
            name: (
                network.eval().requires_grad_(False),
                {**metadata, "network": name, "signature": network.signature.to_json()},
            )
            for name, network in {**exports, **judges}.items()
        }

    def sampler(self, registry: Registry, name: str | None = None) -> TorchSampler:
        """Return a trained network, the generator unless named, ready to draw."""
        return TorchSampler(*self.load(registry, name))

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Append a line to metrics.jsonl."""
        line = json.dumps({"step": step, **{key: float(value) for key, value in metrics.items()}})
        with (self.path / "metrics.jsonl").open("a", encoding="utf-8") as file:
            file.write(line + "\n")

    def metrics(self) -> list[dict[str, float]]:
        """Return the lines of metrics.jsonl; what is no line of ours, or no number, is left out."""
        path = self.path / "metrics.jsonl"
        records = read_records(path) if path.exists() else ()
        rows = [{key: value for key, value in row.items() if type(value) in (int, float)} for row in records]
        return [row for row in rows if type(row.get("step")) is int and row["step"] >= 0]

    def forget_after(self, step: int) -> None:
        """Drop the lines of metrics.jsonl after ``step``: a resumed run writes them again."""
        kept = [json.dumps(row) + "\n" for row in self.metrics() if row["step"] <= step]
        write_atomic(self.path / "metrics.jsonl", "".join(kept))

    def _metadata(self, config: Config, data: DataSpec, path: Path) -> dict[str, Any]:
        step = int(path.name.removeprefix("step-"))
        entry = config.model.entry
        last: dict[str, float] = {}
        for row in self.metrics():
            last |= {key: value for key, value in row.items() if row["step"] <= step}
        figures = {key: value for key, value in last.items() if key.split("/")[0] in config.metrics and isfinite(value)}
        return {
            "schema": 1,
            "model": {"key": entry.spec.key, "plugin": entry.distribution, "version": entry.version},
            "paper": entry.spec.paper,
            "data": {"name": data.name, "size": data.size},
            "training": {"step": step, "seed": config.train.seed, "loss": config.loss.key if config.loss else ""},
            "metrics": figures,
            "directions": {},
            "license": "",
        }


def _environment(config: Config) -> dict[str, Any]:
    choices: Iterable[Any] = (config.model, config.data, *((config.loss,) if config.loss else ()))
    plugins = {choice.entry.distribution: choice.entry.version for choice in choices}
    packages = ("torch", "numpy", "pydantic")
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        **{name: metadata.version(name) for name in packages},
        "plugins": plugins,
    }


def _numbered(root: Path) -> list[Path]:
    return [path for path in root.glob("[0-9]*-*") if _number(path) >= 0] if root.is_dir() else []


def _number(path: Path) -> int:
    match = re.match(r"(\d+)-", path.name)
    return int(match[1]) if match else -1


def _next_number(root: Path) -> int:
    return max((_number(path) for path in _numbered(root)), default=0) + 1
