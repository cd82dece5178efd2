"""Commands in processes of their own that start at once, and can die at any file operation.

A server imports everything once and forks for each command. It is a process by itself, so that nothing is forked from
one with threads. Run as a script it is the server: a command a line comes in as JSON, its outcome goes out as JSON.
"""

from __future__ import annotations

import builtins
import io
import json
import os
import signal
import subprocess
import sys
import tempfile
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NoReturn

from conftest import Outcome

CRASHED = 99
"""The exit code of a process that has died at a file operation."""


@dataclass(frozen=True)
class Ended(Outcome):
    """How a command in a process has ended, and which file operations it has begun below its folder."""

    operations: tuple[str, ...] = ()


class Warm:
    """The server, as its client sees it."""

    def __init__(self, process: subprocess.Popen[str]) -> None:
        self.process = process

    def __call__(self, folder: Path, *arguments: object, crash_at: int | None = None) -> Ended:
        """Run ``ganzoo`` in a folder; at file operation number ``crash_at`` the process is gone, half of it done."""
        return self.wait(self.start(folder, *arguments, crash_at=crash_at))

    def start(self, folder: Path, *arguments: object, crash_at: int | None = None) -> int:
        """Start ``ganzoo`` in a folder, in a process group of its own, and return its process id."""
        said = [str(each) for each in arguments]
        return int(self._ask({"folder": str(folder), "arguments": said, "crash_at": crash_at}))

    def wait(self, process: int) -> Ended:
        """Wait for the end of a process that was started."""
        told = self._ask({"wait": process})
        return Ended(told["code"], told["out"], told["err"], tuple(told["operations"]))

    def _ask(self, question: dict[str, Any]) -> Any:
        assert self.process.stdin is not None
        assert self.process.stdout is not None
        print(json.dumps(question), file=self.process.stdin, flush=True)
        return json.loads(self.process.stdout.readline())


@contextmanager
def warm_process() -> Iterator[Warm]:
    """Yield a server; it ends with its input."""
    command = [sys.executable, "-W", "error", __file__]
    environment = {**os.environ, "OMP_NUM_THREADS": "1"}
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, env=environment) as server:
        yield Warm(server)
        assert server.stdin is not None
        server.stdin.close()


class Watch:
    """Counts what a process does to files below a folder, and ends it at one of these operations."""

    def __init__(self, folder: Path, crash_at: int | None) -> None:
        self.folder, self.crash_at = f"{folder.resolve()}{os.sep}", crash_at
        self.operations: list[str] = []
        sys.addaudithook(self._audit)
        fsync = os.fsync

        def watched_fsync(handle: int) -> None:
            self.begin("fsync", handle)
            fsync(handle)

        os.fsync = watched_fsync
        opened = io.open

        def watched_open(
            file: Any, mode: str = "r", buffering: int = -1, *text: Any, closefd: bool = True, **named: Any
        ) -> Any:
            if not set(mode) & set("wax+") or not self.below(file):
                return opened(file, mode, buffering, *text, closefd=closefd, **named)
            raw = Raw(self, file, mode.replace("b", "").replace("t", ""), closefd)
            if buffering == 0:
                return raw
            buffer = io.BufferedRandom(raw) if "+" in mode else io.BufferedWriter(raw)
            return buffer if "b" in mode else io.TextIOWrapper(buffer, *text, **named)

        builtins.open = io.open = watched_open  # type: ignore[assignment]

    def below(self, path: Any) -> str:
        """Return the path from the folder on, or nothing if it is elsewhere."""
        if isinstance(path, int):
            path = os.readlink(f"/proc/self/fd/{path}")
        if not isinstance(path, str | bytes | os.PathLike):
            return ""
        whole = os.path.abspath(os.fsdecode(path))
        return whole.removeprefix(self.folder) if whole.startswith(self.folder) else ""

    def begin(self, name: str, path: Any) -> bool:
        """Note an operation; return whether it is the last one, or end the process now."""
        if not (below := self.below(path)):
            return False
        self.operations.append(f"{name} {below}")
        last = len(self.operations) == self.crash_at
        if last and name != "write":
            die()
        return last

    def _audit(self, event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open":
            path, _, flags = arguments
            if flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND):
                self.begin(event, path)
        elif event in ("os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.truncate", "os.chmod", "shutil.rmtree"):
            self.begin(event, arguments[0])


class Raw(io.FileIO):
    """A file, below the buffers, of which the last write is done half."""

    def __init__(self, watch: Watch, file: Any, mode: str, closefd: bool) -> None:
        super().__init__(file, mode, closefd)
        self.watch = watch

    def write(self, data: Any) -> int:
        if self.watch.begin("write", self.fileno()):
            super().write(data[: len(data) // 2])
            die()
        return super().write(data)


def die() -> NoReturn:
    """End the process at once, as a kill does: nothing is flushed, no handler runs."""
    os._exit(CRASHED)


def serve() -> None:
    """Answer commands until the input ends."""
    from importlib import import_module

    for module in (
        *(
            "matplotlib.backends.backend_agg",
            "matplotlib.figure",
            "sklearn.datasets",
            "torch.utils.tensorboard.summary",
        ),
        *("tensorboard.summary.writer.record_writer", "torch._dynamo"),  # the last for seconds, by the first optimizer
    ):
        import_module(module)

    from ganzoo.cli import main
    from ganzoo.plugin.registry import load_registry

    for name in ("gan_fc", "wgan_gp_conv"):
        load_registry().get("model", name).spec.load()
    alive = set()
    with tempfile.TemporaryDirectory() as aside:
        for line in sys.stdin:
            asked = json.loads(line)
            if "wait" in asked:
                alive.discard(asked["wait"])
                told: Any = ended(Path(aside), asked["wait"])
            else:
                told = begun(Path(aside), asked, main)
                alive.add(told)
            print(json.dumps(told), flush=True)
        for child in alive:  # of a test that has failed
            os.killpg(child, signal.SIGKILL)


def begun(aside: Path, asked: dict[str, Any], main: Callable[[list[str]], None]) -> int:
    """Fork for a command and return the process's id."""
    if child := os.fork():
        return child
    code = 1
    try:
        os.setsid()
        signal.signal(signal.SIGINT, signal.default_int_handler)  # which a shell may have turned off for the server
        for handle, name in ((1, "out"), (2, "err")):
            os.dup2(os.open(aside / f"{os.getpid()}.{name}", os.O_CREAT | os.O_WRONLY), handle)
        os.chdir(asked["folder"])
        watch = Watch(Path(asked["folder"]), asked["crash_at"])
        try:
            main(asked["arguments"])
            code = 0
        except SystemExit as exit:
            code = int(exit.code or 0)
        finally:
            (aside / f"{os.getpid()}.done").write_text(json.dumps(watch.operations))
    except BaseException:
        traceback.print_exc()
    finally:
        sys.stdout.flush()
        sys.stderr.flush()
        os._exit(code)


def ended(aside: Path, child: int) -> dict[str, Any]:
    """Wait for a process and return how it has ended."""
    _, status = os.waitpid(child, 0)
    texts = {}
    for name in ("out", "err", "done"):
        path = aside / f"{child}.{name}"
        texts[name] = path.read_text() if path.is_file() else ""
        path.unlink(missing_ok=True)
    code, operations = os.waitstatus_to_exitcode(status), json.loads(texts.pop("done") or "[]")
    return {**texts, "code": code, "operations": operations}


if __name__ == "__main__":
    serve()
