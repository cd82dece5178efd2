"""Plugins that change the process, or offer what is no class: theirs alone is the harm."""

from __future__ import annotations

import json
import os
import random
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator
from pathlib import Path

import numpy.random
import pytest
import torch
from sites import Site, importable

from ganzoo import Spec, UserError
from ganzoo.plugin.isolation import isolated
from ganzoo.plugin.process_state import EVERYTHING, RANDOM, State
from ganzoo.testing import run_checks

RUDE = {
    "torch's default dtype": "import torch\ntorch.set_default_dtype(torch.float64)",
    "torch's default device": "import torch\ntorch.set_default_device('meta')",
    "torch's gradient mode": "import torch\ntorch.set_grad_enabled(False)",
    "torch's determinism": "import torch\ntorch.use_deterministic_algorithms(True)",
    "torch's anomaly detection": "import torch\ntorch.autograd.set_detect_anomaly(True, check_nan=False)",
    "torch's threads": "import torch\ntorch.set_num_threads(torch.get_num_threads() + 1)",
    "torch's backends": "import torch\ntorch.set_float32_matmul_precision('high')",
    "torch's random state": "import torch\ntorch.manual_seed(48271)",
    "NumPy's random state": "import numpy\nnumpy.random.seed(48271)",
    "NumPy's floating-point errors": "import numpy\nnumpy.seterr(all='raise')",
    "Python's random state": "import random\nrandom.seed(48271)",
    "the start method of processes": (
        "import multiprocessing as m\nm.set_start_method('forkserver', force=True)"
        if sys.platform != "win32"
        else "import multiprocessing as m\nm.set_start_method('spawn', force=True)"
    ),
    "signal handlers": "import signal\nsignal.signal(signal.SIGINT, signal.SIG_IGN)",
    "the warning filters": "import warnings\nwarnings.simplefilter('ignore')",
    "the standard streams": "import io, sys\nsys.stdout = io.StringIO()",
    "exception hooks": "import sys\nsys.excepthook = print",
    "the root logger": "import logging\nlogging.getLogger().setLevel('DEBUG')",
    "the module path": "import sys\nsys.path.insert(0, 'somewhere')",
    "environment variables": "import os\nos.environ['HOME'] = 'elsewhere'",
    "the working directory": "import os\nos.chdir('/')",
    "the umask": "import os\nos.umask(0o123)",
    "the recursion limit": "import sys\nsys.setrecursionlimit(12345)",
    "garbage collection": "import gc\ngc.disable()",
}
OFFER = "\n@hookimpl\ndef ganzoo_specs():\n    return [Spec('loss', 'x', 'Summary.', '{}:Loss')]\n"
HONEST = """
import ganzoo

class Loss(ganzoo.Loss):
    def discriminator(self, real, fake):
        return (fake - real).mean()

    def generator(self, fake, real):
        return -fake.mean()
"""


@pytest.fixture
def site(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Site]:
    monkeypatch.setattr(sys, "path", sys.path.copy())
    with importable(tmp_path):
        yield Site(tmp_path)


def snapshot() -> list[tuple[State, object]]:
    return [(state, state.value()) for state in EVERYTHING]


def changed(before: list[tuple[State, object]]) -> list[str]:
    """Return what is not as it was; what was added to the environment, or at the end of the path, is all right."""
    grown = [state.name for state, value in before if state not in RANDOM and state.harmless(value, state.value())]
    return [state.name for state, value in before if state.value() != value and state.name not in grown]


@pytest.mark.parametrize("what", RUDE)
def test_what_a_plugin_changes_when_it_is_imported_is_put_back_and_said(what: str, site: Site) -> None:
    site.add("one", plugin=RUDE[what] + OFFER.format("one_loss"))
    (site.folder / "one_loss.py").write_text(HONEST)
    before, filters = snapshot(), list(warnings.filters)
    registry = site.load()
    assert (changed(before), warnings.filters[-len(filters) :]) == ([], filters)
    (plugin,) = registry.plugins
    assert (plugin.status, plugin.changes) == ("loaded", (what,))
    assert registry.get("loss", "x").spec.load().__name__ == "Loss", "it works all the same"


@pytest.mark.parametrize("what", RUDE)
def test_so_is_what_a_target_changes(what: str, site: Site) -> None:
    site.add("one", plugin=OFFER.format("one_loss"))
    (site.folder / "one_loss.py").write_text(HONEST + RUDE[what])
    spec = site.load().get("loss", "x").spec
    before, filters = snapshot(), list(warnings.filters)
    assert spec.load().__name__ == "Loss"
    assert (changed(before), warnings.filters[-len(filters) :]) == ([], filters)
    assert spec.changes == (what,)


def test_several_changes_and_those_of_being_asked_for_specs_are_one_sentence(site: Site) -> None:
    inside = (
        "@hookimpl\ndef ganzoo_specs():\n    import gc, random\n    random.seed(1)\n    gc.disable()\n    return []"
    )
    site.add("one", plugin=inside)
    (plugin,) = site.load().plugins
    assert plugin.changes == ("Python's random state", "garbage collection")


def test_the_commands_say_it(site: Site, tmp_path: Path) -> None:
    site.add("one", plugin="import random\nrandom.seed(0)\nprint('hello')" + OFFER.format("one_loss"))

    def ganzoo(*arguments: str) -> subprocess.CompletedProcess[str]:
        environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(site.folder), *filter(None, sys.path)])}
        command = [sys.executable, "-m", "ganzoo", *arguments]
        return subprocess.run(command, env=environment, capture_output=True, text=True, cwd=tmp_path)

    said = "one/plugin 1.0: loaded: x\n  changes Python's random state when it is imported; ganzoo has put it back\n"
    assert said in ganzoo("plugins").stdout
    done = ganzoo("plugins", "--json")
    rows = {row["name"]: row["changes"] for row in json.loads(done.stdout) if row["distribution"] == "one"}
    assert rows == {"plugin": ["Python's random state"]}
    assert done.stderr == "hello\n", "stdout is JSON"


def test_the_kit_says_it_of_the_plugin_and_of_the_target(site: Site) -> None:
    site.add("one", plugin=OFFER.format("one_loss"))
    site.add("two", plugin="import gc\ngc.disable()" + OFFER.format("two_loss"))
    (site.folder / "one_loss.py").write_text(f"{HONEST}\nimport torch\ntorch.set_grad_enabled(False)")
    (site.folder / "two_loss.py").write_text(HONEST)
    registry = site.load()
    for name, sentence in {
        "one/x": "one_loss:Loss changes torch's gradient mode when it is imported; ganzoo puts it back",
        "two/x": "two_plugin changes garbage collection when it is imported; ganzoo puts it back",
    }.items():
        results = {result.name: result for result in run_checks(registry, f"loss:{name}")}
        assert results["import"].outcome == "failed"
        assert results["import"].detail.startswith(sentence)
        assert {result.outcome for check, result in results.items() if check != "import"} == {"passed"}


def test_what_libraries_do_when_they_are_imported_is_no_rudeness(monkeypatch: pytest.MonkeyPatch) -> None:
    """Drawing random numbers, filters for warnings of one's own, variables for oneself, a longer path."""

    def library() -> None:
        random.random()
        numpy.random.rand()
        torch.rand(1)
        warnings.filterwarnings("ignore", message="of mine")
        os.environ["OF_A_LIBRARY"] = "1"
        sys.path.append("at the end")

    monkeypatch.setattr(sys, "path", sys.path.copy())
    monkeypatch.delenv("OF_A_LIBRARY", raising=False)
    before, path, filters = snapshot(), sys.path.copy(), list(warnings.filters)
    with warnings.catch_warnings():
        with isolated() as changes:
            library()
        assert changes == []
        assert changed(before) == [], "the generators are put back nevertheless"
        assert "OF_A_LIBRARY" in os.environ
        assert [*path, "at the end"] == sys.path
        assert len(warnings.filters) == len(filters) + 1, "libraries are imported once"


def test_what_is_put_in_front_of_the_path_is_found_behind_it(site: Site) -> None:
    vendored = site.folder / "vendored"
    vendored.mkdir()
    (vendored / "one_loss.py").write_text(HONEST)
    (vendored / "json.py").write_text("raise RuntimeError('I am not json')")
    site.add("one", plugin=f"import sys\nsys.path.insert(0, {str(vendored)!r})" + OFFER.format("one_loss"))
    before = sys.path.copy()
    spec = site.load().get("loss", "x").spec
    assert [*before, str(vendored)] == sys.path
    assert spec.load().__name__ == "Loss"


def test_a_device_that_a_plugin_chooses_is_nobodys(site: Site, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    site.add("one", plugin="import os\nos.environ['CUDA_VISIBLE_DEVICES'] = '7'")
    (plugin,) = site.load().plugins
    assert plugin.changes == ("environment variables",)
    assert "CUDA_VISIBLE_DEVICES" not in os.environ


def test_seeds_are_noticed_where_the_library_comes_with_the_plugin(tmp_path: Path) -> None:
    site = Site(tmp_path)
    site.add("one", a="import numpy\nnumpy.random.seed(0)", b="import torch\ntorch.manual_seed(0)", c="import random")
    site.add("two", a="import torch\ntorch.set_grad_enabled(False)")
    code = f"""
import sys
from ganzoo.plugin.registry import Registry
plugins = Registry([{str(tmp_path)!r}]).plugins
import numpy, torch
assert torch.is_grad_enabled()
print(*(f"{{plugin.name}}: {{', '.join(plugin.changes)}}" for plugin in plugins), sep="\\n")
assert numpy.random.rand() != numpy.random.RandomState(0).rand(), "the generators are as random as ever"
assert torch.rand(1) != torch.rand(1, generator=torch.Generator().manual_seed(0))
"""
    environment = os.environ | {"PYTHONPATH": os.pathsep.join([str(tmp_path), *filter(None, sys.path)])}
    done = subprocess.run([sys.executable, "-c", code], env=environment, capture_output=True, text=True, check=True)
    assert done.stdout.splitlines() == [
        "a: NumPy's random state",
        "b: torch's random state",
        "c: ",
        "a: torch's gradient mode",
    ]


def test_looking_after_plugins_takes_no_time() -> None:
    def once() -> float:
        since = time.perf_counter()
        with isolated():
            pass
        return time.perf_counter() - since

    assert min(once() for _ in range(200)) < 0.002


def test_a_listener_that_draws_does_not_change_the_training(site: Site) -> None:
    draws = (
        "import random, numpy, torch\n@hookimpl\ndef ganzoo_log():\n    torch.manual_seed(1), numpy.random.rand(), {}"
    )
    site.add("one", plugin=draws.format("random.random()"))
    site.add("two", plugin=draws.format("1 / 0"))
    before = snapshot()
    site.load().notify("ganzoo_log", run=Path(), step=1, metrics={})
    assert changed(before) == []


# Targets that are not what their kind asks for


CLASSES = (
    HONEST
    + """
def function(): pass
class Nothing: pass
class Unfinished(ganzoo.Loss): pass
class Configured(Loss):
    Config = None
class OldStyle(Loss):
    class Config:
        margin = 1.0
"""
)


@pytest.mark.parametrize(
    ("kind", "name", "fault"),
    [
        ("loss", "function", "is a function and not a subclass of ganzoo.Loss"),
        ("loss", "ganzoo", "is a module and not a subclass of ganzoo.Loss"),
        ("loss", "Nothing", "is not a subclass of ganzoo.Loss"),
        ("loss", "Unfinished", "does not implement discriminator, generator"),
        ("loss", "Configured", "has a Config that is not a subclass of ganzoo.LossConfig"),
        ("loss", "OldStyle", "has a Config that is not a subclass of ganzoo.LossConfig"),
        ("model", "Loss", "is not a subclass of ganzoo.Trainer"),
        ("dataset", "Loss", "is not a subclass of ganzoo.Dataset"),
        ("metric", "function", "is a function and not a subclass of ganzoo.Metric"),
        ("format", "Loss", "is not a subclass of ganzoo.Format"),
        ("regularizer", "Loss", "is not a subclass of ganzoo.Regularizer or ganzoo.GeneratorRegularizer"),
        ("sink", "__name__", "is a str and not a function"),
        ("loss", "missing", "AttributeError: module 'one_thing' has no attribute 'missing'"),
        ("pretrained", "no/such.onnx", "is not there"),
    ],
)
def test_a_target_that_is_something_else_is_one_sentence(kind: str, name: str, fault: str, site: Site) -> None:
    package = site.folder / "one_thing"
    package.mkdir()
    (package / "__init__.py").write_text(CLASSES)
    offer = f"[Spec({kind!r}, 'x', 'Summary.', 'one_thing:{name}')]"
    site.add("one", plugin=f"@hookimpl\ndef ganzoo_specs():\n    return {offer}\n")
    said = {"dataset": "data set", "pretrained": "pretrained model"}.get(kind, kind)
    with pytest.raises(UserError) as raised:
        site.load().specs()[0].spec.load()
    assert str(raised.value).startswith(f"the {said} 'x' of plugin one/plugin 1.0 cannot be ")
    assert str(raised.value).endswith(fault)


def test_a_spec_of_nobody_says_so_too() -> None:
    with pytest.raises(UserError, match=r"^the loss 'x' cannot be loaded from nowhere:Loss: ModuleNotFoundError: "):
        Spec("loss", "x", "Summary.", "nowhere:Loss").load()


def test_a_trained_model_of_a_package_that_is_gone_is_one_sentence(site: Site) -> None:
    import ganzoo

    site.add(
        "one", plugin="@hookimpl\ndef ganzoo_specs():\n    return [Spec('pretrained', 'x', 'S.', 'gone:a.onnx')]\n"
    )
    with pytest.raises(
        UserError, match=r"^the pretrained model 'x' of plugin one/plugin 1.0 cannot be loaded from gone:"
    ):
        ganzoo.load("zoo:x", registry=site.load())
