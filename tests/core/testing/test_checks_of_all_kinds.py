"""What is wrong with how a plugin is packaged is caught by the right check, whatever its kind."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from sites import Site, importable

from ganzoo.plugin.registry import Registry
from ganzoo.testing import general, run_checks

LOSS = """
from torch.nn.functional import softplus
from ganzoo import Loss

class Honest(Loss):
    def discriminator(self, real, fake):
        return (softplus(fake) + softplus(-real)).mean()

    def generator(self, fake, real):
        return softplus(-fake).mean()
"""

COMMAND = 'def run(name: str = "") -> None:\n    """Say hello."""\n'

SPECS = "@hookimpl\ndef ganzoo_specs():\n    return [Spec({kind!r}, {key!r}, 'A toy.', '{target}')]\n"

TOYS: dict[str, tuple[str, str, str, str, str]] = {}
"""By key: the kind, the check that fails, the source of the plugin before its specs, the target's source, its name."""


def loss(check: str, key: str, plugin: str = "", source: str = "") -> None:
    TOYS[key] = ("loss", check, plugin, source + LOSS, "Honest")


def command(check: str, key: str, source: str, name: str = "run") -> None:
    TOYS[key] = ("command", check, "", source, name)


loss("discovery", "imports_torch", plugin="import torch\n")
loss("discovery", "imports_from_torch", plugin="from torch import nn\n")
loss("discovery", "imports_a_core_room", plugin="import ganzoo.gan.losses\n")

loss("import", "sets_the_type", source="import torch\ntorch.set_default_dtype(torch.float64)\n")
loss("import", "seeds", source="import torch\ntorch.manual_seed(31415)\n")
loss("import", "handles_signals", source="import signal\nsignal.signal(signal.SIGTERM, lambda *_: None)\n")

TOYS["no_loss"] = ("loss", "class", "", "class Honest:\n    pass\n", "Honest")
TOYS["gone"] = ("loss", "class", "", LOSS, "Missing")
TOYS["needs_a_library"] = ("loss", "class", "", f"import no_such_library\n{LOSS}", "Honest")

for kind, name in {"file": "gone.onnx", "folder": "models", "other_file": "models/gone.onnx"}.items():
    TOYS[f"missing_{kind}"] = ("pretrained", "file", "", "", name)

for check, sources in {
    "function": {
        "no_importer": "read = 3\n",
        "reads_files": "def read(path, device):\n    return path\n",
        "reads_nothing": "def read():\n    return 0\n",
    },
    "refusal": {
        "takes_all": "def read(state):\n    return state\n",
        "stumbles": "def read(state):\n    return state['G_ema']\n",
        "says_value": "def read(state):\n    raise ValueError('not mine')\n",
    },
}.items():
    for name, source in sources.items():
        TOYS[name] = ("importer", check, "", f"{source}", "read")

command("command", "no_docstring", "def run() -> None:\n    pass\n")
command("command", "no_function", "run = 3\n")
command(
    "command", "no_help", 'import typer\nrun = typer.Typer()\n\n@run.command()\ndef say() -> None:\n    """Say."""\n'
)

command("help", "heavy_command", f"import torch\n{COMMAND}")
command("help", "heavy_default", f"from torch.nn import Linear\n{COMMAND}")
command("help", "unknown_type", 'def run(name: object = None) -> None:\n    """Say hello."""\n')


@pytest.fixture(scope="module")
def toys(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    folder = tmp_path_factory.mktemp("toys")
    with importable(folder):
        site = Site(folder)
        for key, (kind, _, plugin, source, name) in TOYS.items():
            package = folder / f"of_{key}"
            package.mkdir()
            (package / "__init__.py").write_text(source)
            site.add(f"toy-{key}", plugin=plugin + SPECS.format(kind=kind, key=key, target=f"of_{key}:{name}"))
        yield Registry()


@pytest.mark.parametrize("key", TOYS)
def test_a_toy_is_caught_by_the_right_check(toys: Registry, key: str, monkeypatch: pytest.MonkeyPatch) -> None:
    kind, check, *_ = TOYS[key]
    if check != "discovery":
        monkeypatch.setattr(general, "discovery", lambda *_: None)  # a process each
    results = {result.name: result for result in run_checks(toys, f"{kind}:{key}")}
    assert [name for name, result in results.items() if result.outcome == "failed"] == [check], results
    assert "\n" not in results[check].detail


def test_every_check_has_three_toys() -> None:
    checks = [check for _, check, *_ in TOYS.values()]
    assert {checks.count(check) for check in checks} == {3}
