"""Run folders: what a training writes, and what sampling, export and resume read."""

import json
import platform
import re
from collections import deque
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib import metadata
from math import isfinite
from os import PathLike
from pathlib import Path
from typing import Any

import tomli_w

from ganzoo.config.config import Config
from ganzoo.config.renamed import current, current_figure
from ganzoo.config.resolving import load_config
from ganzoo.data.dataset import DataSpec
from ganzoo.errors import UserError
from ganzoo.files import (
    append_line,
    fsync_folder,
    read_bytes,
    read_records,
    read_toml,
    refuse_links,
    remove,
    remove_leftovers,
    write_atomic,
)
from ganzoo.files.locks import Lock
from ganzoo.gan.networks import Discriminator, Network
from ganzoo.images.notebook import as_html
from ganzoo.plugin.registry import Registry
from ganzoo.runs import checkpoint
from ganzoo.runs.naming import ROOT, Name, chosen, locate, next_number, text_of
from ganzoo_runtime.text import NAME, counted, fits, shown

__all__ = ["Run"]


class Run:
    """A run folder. Functions that take the path of a run also take the :class:`Run` itself."""

    def __init__(self, path: str | PathLike[str], which: str = "") -> None:
        self.path = Path(path)
        self.which = which
        """The checkpoint that is loaded: a step, ``"best"``, or nothing for the last."""
        self._lock = Lock(self.path / "train.lock")
        self._waiting: tuple[int, list[dict[str, float]]] | None = None

    def __fspath__(self) -> str:
        return str(self)

    def __str__(self) -> str:
        return f"{self.path}{'@' if self.which else ''}{self.which}"

    def __repr__(self) -> str:
        return shown(f"<Run {'; '.join([str(self.path), *self._facts().values()])}>")

    def _repr_html_(self) -> str:
        """Return the newest grid, the curves, and what was trained on what, for notebooks."""
        files = {"samples": self.grids()[-1:], "losses": [self.path / "losses.png"]}
        pictures = {name: read_bytes(path) for name, paths in files.items() for path in paths if path.is_file()}
        return as_html(str(self.path), self._facts(), pictures)

    def _facts(self) -> dict[str, str]:
        """Return what it is, in words; nothing of a folder that is damaged."""
        try:
            document, rows = self.document(), self.metrics()
            names = {key: str(document[key]["name"]).rpartition("/")[2] for key in ("data", "loss") if key in document}
            step = int(rows[-1]["step"]) if rows else 0
            facts = {"model": str(document["plugin"]).rpartition("/")[2], "data": f"on {names.pop('data')}"}
            facts |= {name: f"loss {key}" for name, key in names.items()}
            return {**facts, "training": f"{step:,} of {counted(document['steps'], 'step')}"}
        except (UserError, OSError, KeyError, TypeError, ValueError):
            return {}

    @property
    def checkpoints(self) -> Path:
        """The folder of checkpoints."""
        return self.path / "checkpoints"

    def checkpoint(self) -> Path:
        """Return the checkpoint that is loaded; raises :class:`UserError` if there is none."""
        if self.which == "best":
            return checkpoint.best(self.checkpoints)
        return checkpoint.find(self.checkpoints, int(self.which)) if self.which else checkpoint.latest(self.checkpoints)

    @property
    def samples(self) -> Path:
        """The folder of sample grids."""
        return self.path / "samples"

    @classmethod
    def create(cls, root: str | PathLike[str], config: Config, data: DataSpec, launch: str = "") -> "Run":
        """Make a new folder ``root/0007-model-data`` with the resolved config in it, and take its lock for a training.

        ``launch`` is the name of the launch of several processes that train in it, by which they find it if they are
        started again. Raises :class:`UserError` if it cannot be written; no folder is left then.
        """
        root = Path(root)
        if not fits(str(root)):  # neither safetensors nor TensorBoard open what lies in it
            raise UserError(f"cannot write to {str(root)!r}: {NAME}; choose another --out")
        try:
            root.mkdir(parents=True, exist_ok=True)
            while True:
                path = root / f"{next_number(root):04d}-{config.name}"
                try:
                    path.mkdir()
                    fsync_folder(root)
                    break
                except FileExistsError:
                    continue  # another process took the number
        except OSError as error:
            raise UserError(f"cannot write to {root}: {error.strerror or error}; choose another --out") from None
        run = cls(path)
        try:
            run._take()
            run.write_config(config, data, launch)
        except UserError:
            run._lock.release()
            remove(path)
            raise
        return run

    @classmethod
    def open(cls, name: Name, root: str | PathLike[str] = ROOT) -> "Run":
        """Open an existing run by its path, its number or as ``"last"``, see :func:`ganzoo.runs.naming.locate`.

        What is loaded of ``5@1500`` or ``5@best`` is the checkpoint of that step, or the best by ``keep_best``. Raises
        :class:`UserError` if it is none of ours.
        """
        text, which = chosen(text_of(name))
        path = locate(text, root)
        if not (path / "config.toml").is_file():
            raise UserError(f"{path} is not a run folder: it has no config.toml")
        try:
            str(path).encode()
        except UnicodeEncodeError:  # safetensors does not open what lies in it
            raise UserError(f"cannot read {str(path)!r}: its name has bytes that are no text; rename it") from None
        return cls(path, which)

    @contextmanager
    def locked(self) -> Iterator[None]:
        """Hold the lock for training in the folder, and remove half-written files of a training that was killed.

        Reading or exporting a run needs no lock. If this object holds the lock already (just created, or inside of
        another ``locked()``), it is kept, and released at the end of this block. Raises :class:`UserError` if another
        process trains here, or if there is a symbolic link in the folder, which could redirect what is written.
        """
        try:
            self._take()
            yield
        finally:
            self._lock.release()

    def _take(self) -> None:
        if self._lock.held:
            return
        refuse_links(self.path)
        if (owner := self._lock.acquire()) is not None:
            raise UserError(f"{self.path} is being trained by {owner}; wait until it has ended, or stop it first")
        for folder in (self.path, self.checkpoints, self.samples):
            remove_leftovers(folder)

    def grids(self) -> list[Path]:
        """Return the sample grids of the main network in the order of their steps."""
        return sorted((path for path in self.samples.glob("*.png") if path.stem.isdecimal()), key=_step_of)

    def later(self, step: int) -> list[Path]:
        """Return the checkpoints and the sample grids of steps after this one."""
        found = [*checkpoint.steps(self.checkpoints).values(), *self.samples.glob("*.png")]
        return [path for path in found if _step_of(path) > step]

    def write_config(self, config: Config, data: DataSpec, launch: str = "") -> None:
        """Write config.toml: the resolved config, the environment, and what the data looks like."""
        environment = _environment(config) | ({"launch": launch} if launch else {})
        document = {**config.to_dict(), "environment": environment, "data_spec": data.to_json()}
        write_atomic(self.path / "config.toml", tomli_w.dumps(document))

    def config(self, registry: Registry, sets: Sequence[str] = (), flags: Mapping[str, Any] | None = None) -> Config:
        """Return the config that the run was made with, settings and flags laid over it."""
        return load_config(registry, file=self.path / "config.toml", sets=sets, flags=flags)

    def document(self) -> dict[str, Any]:
        """Return config.toml as written, with the environment and the data's spec."""
        return current(read_toml(self.path / "config.toml"))

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

        They are what the model exports, with averaged weights, and its discriminators, with those of the last step. Of
        the plugins that the run was trained with, only the model's has to be installed.
        """
        path = self.checkpoint()
        config, data = self.config(registry.for_networks()), self.data_spec()
        trainer = config.build_trainer(data)
        while True:
            trainer.reach(_step_of(path) - 1)  # the step that it was written after
            averaged = trainer.averaged_networks()
            exports = dict(trainer.exports(averaged))
            discriminators = {key: each for key, each in trainer.networks.items() if isinstance(each, Discriminator)}
            discriminators = {key: each for key, each in discriminators.items() if key not in {*averaged, *exports}}
            try:
                checkpoint.load_networks(path, averaged, "ema")
                checkpoint.load_networks(path, discriminators)
                break
            except (OSError, UserError):
                # A training may go on meanwhile, and delete this checkpoint as soon as it has newer ones.
                if (newest := self.checkpoint()) == path:
                    raise
                path = newest
        metadata = self._metadata(config, data, path)
        return {
            name: (
                network.eval().requires_grad_(False),
                {**metadata, "network": name, "signature": network.signature.to_json(), **_means(network)},
            )
            for name, network in {**exports, **discriminators}.items()
        }

    def log(self, step: int, metrics: Mapping[str, float]) -> None:
        """Append a line to metrics.jsonl; raises :class:`UserError` if the disk is full."""
        row = {"step": step, **{key: float(value) for key, value in metrics.items()}}
        if self._waiting is not None:
            self._waiting[1].append(row)
        else:
            append_line(self.path / "metrics.jsonl", json.dumps(row))

    def metrics(self) -> list[dict[str, float]]:
        """Return the lines of metrics.jsonl; what is no line of ours, or no number, is left out."""
        path = self.path / "metrics.jsonl"
        records = read_records(path) if path.exists() else ()
        rows = [
            {current_figure(key): value for key, value in row.items() if type(value) in (int, float)} for row in records
        ]
        rows = [row for row in rows if type(row.get("step")) is int and row["step"] >= 0]
        if self._waiting is not None:
            step, waiting = self._waiting
            rows = [row for row in rows if row["step"] <= step] + waiting
        return rows

    def forget_after(self, step: int, *, later: bool = False) -> None:
        """Drop the lines of metrics.jsonl after ``step``: a resumed run writes them again.

        With ``later`` this waits for :meth:`settle`, and new lines wait in memory. A training that went back to an
        older checkpoint may crash before it writes a new one; the newer checkpoint and its lines must still exist then.
        """
        before, rows = (step, []) if self._waiting is None else self._waiting
        self._waiting = (min(step, before), [row for row in rows if row["step"] <= step])
        if not later:
            self.settle()

    def settle(self) -> None:
        """Write what waits; raises :class:`UserError` if the disk is full."""
        if self._waiting is not None:
            write_atomic(self.path / "metrics.jsonl", "".join(json.dumps(row) + "\n" for row in self.metrics()))
            self._waiting = None

    @property
    def waits(self) -> bool:
        """Whether lines wait for :meth:`settle`."""
        return self._waiting is not None

    def note(self, step: int, kind: str, text: str, **facts: Any) -> None:
        """Append to events.jsonl what happened after ``step``, in words: a setting changed, a warning, a rewind.

        Raises :class:`UserError` if the disk is full.
        """
        append_line(self.path / "events.jsonl", json.dumps({"step": step, "kind": kind, "text": text, **facts}))

    def events(self) -> list[dict[str, Any]]:
        """Return the lines of events.jsonl that are ours, at most the last 1000."""
        path = self.path / "events.jsonl"
        records = read_records(path) if path.exists() else ()
        kinds = {"step": int, "kind": str, "text": str}
        return list(
            deque((row for row in records if all(type(row.get(key)) is kind for key, kind in kinds.items())), 1000)
        )

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
            "license": config.train.source.license if config.train.source else "",
        }


def _means(network: Network) -> dict[str, Any]:
    means = {name: mean.flatten().tolist() for name, mean in network.means.items()}
    return {"latent_mean": means} if means else {}


def _environment(config: Config) -> dict[str, Any]:
    plugins = {entry.distribution: entry.version for entry in config.entries()}
    packages = ("torch", "numpy", "pydantic")
    return {
        "python": platform.python_version(),
        "platform": platform.platform(),
        **{name: metadata.version(name) for name in packages},
        "plugins": plugins,
    }


def _step_of(path: Path) -> int:
    """Return the step in the name of a checkpoint or a sample grid, ``000500-a_to_b.png`` as well; -1 without one."""
    match = re.match(r"(?:step-)?([0-9]+)(?=[-.]|$)", path.name)
    return int(match[1]) if match else -1
