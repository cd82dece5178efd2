"""Nothing heavy is imported that a command does not use."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest


def modules(*arguments: str, cwd: Path) -> tuple[set[str], str]:
    """Run a command in a process of its own; return the modules that it had imported, and its output."""
    code = (
        "import sys\nfrom ganzoo.cli import main\ntry:\n    main(sys.argv[1:])\nexcept SystemExit as e:\n"
        "    assert not e.code, e.code\nfinally:\n    print('\\n' + ' '.join(sys.modules), file=sys.stderr)"
    )
    command = [sys.executable, "-c", code, *arguments]
    done = subprocess.run(command, cwd=cwd, capture_output=True, text=True, check=True)
    return set(done.stderr.splitlines()[-1].split()), done.stdout


@pytest.mark.parametrize("arguments", [["--help"], ["-h"], []])
def test_the_list_of_commands_imports_next_to_nothing(arguments: list[str], tmp_path: Path) -> None:
    imported, out = modules(*arguments, cwd=tmp_path)
    assert "\n  train " in out
    assert "\n  edit " in out
    heavy = {"typer", "pydantic", "importlib.metadata", "email", "shutil", "socket", "torch", "numpy"}
    # Some installations import a part of them whenever Python starts.
    bare = subprocess.run([sys.executable, "-c", "import sys; print(*sys.modules)"], capture_output=True, text=True)
    assert not imported & (heavy - set(bare.stdout.split()))


@pytest.mark.parametrize("arguments", [["--version"], ["train", "--help"]])
def test_help_imports_next_to_nothing(arguments: list[str], tmp_path: Path) -> None:
    imported, _ = modules(*arguments, cwd=tmp_path)
    assert not imported & {"torch", "numpy", "onnxruntime", "rich", "PIL", "matplotlib"}
    assert "pydantic" not in imported or "train" in arguments  # typer needs it for options that are numbers


@pytest.mark.parametrize("arguments", [["list"], ["list", "model", "--json"], ["plugins"], ["info", "onnx"]])
def test_lists_import_no_torch(arguments: list[str], tmp_path: Path) -> None:
    imported, out = modules(*arguments, cwd=tmp_path)
    assert "onnx" in out or "wgan_gp_conv" in out
    assert not imported & {"torch", "numpy", "onnxruntime", "rich", "PIL", "matplotlib"}


def test_a_training_imports_what_it_uses(tmp_path: Path) -> None:
    imported, _ = modules("train", "--plugin", "gan_fc", "--data", "digits", "--steps", "1", cwd=tmp_path)
    assert {"torch", "matplotlib"} <= imported
    # torch imports the first of these as soon as an optimizer is made, and that all others but the last three
    assert not imported & {"torch._dynamo", "sympy", "torch.distributed.tensor", "torch.onnx", "torch._inductor"}
    assert not imported & {"onnx", "onnxruntime", "torch_fidelity"}


def test_a_file_is_sampled_without_torch(trained: dict[str, Path], tmp_path: Path) -> None:
    for out in ("a.png", "a.npz", "folder"):
        model = str(trained["digits"] / "generator.onnx")
        imported, _ = modules("sample", model, "-n", "4", "--out", out, cwd=tmp_path)
        assert (tmp_path / out).exists()
        assert not imported & {"torch", "onnx", "matplotlib", "rich"}


def test_import_ganzoo_is_light() -> None:
    code = "import sys, ganzoo; dir(ganzoo); print(*sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert not set(done.stdout.split()) & {"torch", "numpy", "pydantic", "onnxruntime", "typer", "rich"}
