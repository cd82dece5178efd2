"""The house itself: the public surface, the README's commands, the zoo, and what a wheel carries."""

import ast
import json
import re
import subprocess
import sys
import tomllib
import zipfile
from importlib.resources import as_file, files

import numpy as np
import pytest
from conftest import ROOT

import ganzoo
from ganzoo import Signature, Tokens, load_registry
from ganzoo.testing.bench import draw

PUBLIC = """
AdversarialConfig AdversarialTrainer Attributes Augment AugmentConfig Augmentation AugmentationConfig Batch Bound
Column Comparison Config DataSpec Dataset DatasetConfig Discriminator DiscriminatorObjective Encoding Evaluation Field
Format GanzooError Generate Generator GeneratorRegularizer HOOK_API Image ImageReader Imported Interrupted Label
Latent Loop Loss LossConfig Mask Metric MetricConfig Network Optimizer OptimizerConfig Phase Points Registry
Regularizer RegularizerConfig Run RunSummary Sampler Schedule ScheduleConfig Score Scores Sequence Signature Sink Spec
Stream StyleGenerator Styles Sweep Table TensorDataset Tokens Tracker TrackerConfig TrainedModel Trainer TrainerConfig
TrainingError Translator Trial Truncation UserError __version__ cli compare did_you_mean draw_inputs draw_latent encode
evaluate export files fit full_precision grid hookimpl import_weights load load_config load_registry
normalize_spectrum own_rows pull push read_directions report save_grid sweep testing train translate whole_batch widened
write_animation
"""


def test_the_public_surface_changes_on_purpose_only():
    assert sorted(ganzoo.__all__) == sorted(PUBLIC.split())
    for name in ganzoo.__all__:
        assert getattr(ganzoo, name) is not None
    with pytest.raises(AttributeError, match="nothing"):
        ganzoo.nothing  # noqa: B018


def names_in(code):
    """Return the public names that a piece of Python uses."""
    for node in ast.walk(ast.parse(code)):
        if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "ganzoo":
            yield node.attr
        elif isinstance(node, ast.ImportFrom) and node.module == "ganzoo":
            yield from (alias.name for alias in node.names)


def test_every_public_name_has_an_example_that_runs():
    """They are those of docs/python.md, docs/plugins and the sample plugins, which other tests run as they are."""
    guide = (ROOT / "docs" / "plugins").glob("*.md")
    text = "".join(path.read_text(encoding="utf-8") for path in (ROOT / "docs" / "python.md", *sorted(guide)))
    examples = re.findall(r"^```python\n(.*?)^```$", text, re.MULTILINE | re.DOTALL)
    examples += [path.read_text(encoding="utf-8") for path in (ROOT / "examples" / "plugins").rglob("*.py")]
    assert set(ganzoo.__all__) - {name for code in examples for name in names_in(code)} == set()


def test_ci_runs_the_readmes_test_command():
    commands = re.findall(r"```sh\n(.*?)\n```", (ROOT / "README.md").read_text(), re.DOTALL)
    (tests,) = [command for command in commands if "pytest" in command]
    assert tests in (ROOT / ".ci" / "run").read_text().splitlines()


def test_the_readmes_python_runs_where_there_is_no_torch(tmp_path):
    code, _ = re.findall(r"```python\n(.*?)\n```", (ROOT / "README.md").read_text(), re.DOTALL)
    (tmp_path / "digits.onnx").write_bytes(
        files("ganzoo_zoo").joinpath("wgan_gp_conv-mnist5k", "generator.onnx").read_bytes()
    )
    code = f"import sys; sys.modules['torch'] = None\n{code}\nassert drawn.shape == (16, 28, 28, 1), drawn.shape"
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True, cwd=tmp_path)


def test_the_changelog_and_the_version_agree():
    assert re.fullmatch(r"\d+\.\d+\.\d+", ganzoo.__version__)
    assert "## [Unreleased]" in (ROOT / "CHANGELOG.md").read_text()


def zoo():
    return [entry for entry in load_registry().specs("pretrained") if entry.distribution == "torch-ganzoo"]


@pytest.mark.parametrize("entry", zoo(), ids=lambda entry: entry.spec.key)
def test_every_inhabitant_of_the_zoo_is_complete_and_draws(entry):
    folder = files("ganzoo_zoo").joinpath(entry.spec.key)
    model = entry.spec.target.rpartition("/")[2]
    for name in ("config.toml", "README.md", "metrics.json", "samples.png", model):
        assert folder.joinpath(name).is_file(), f"{entry.spec.key} lacks {name}"
    for file in folder.iterdir():
        assert len(file.read_bytes()) < 3e6, f"{file} is too large"
    recipe = tomllib.loads(folder.joinpath("config.toml").read_text())
    with as_file(folder.joinpath("config.toml")) as path:
        ganzoo.load_config(load_registry(), file=path)  # as 'ganzoo train --config' on its card
    assert json.loads(folder.joinpath("metrics.json").read_text())
    sampler = ganzoo.load(f"zoo:{entry.spec.key}")
    signature = Signature.from_json(sampler.metadata["signature"])
    if signature.drawn:
        samples = sampler.sample(16, seed=3)
    else:
        samples = sampler(*(part.numpy() for part in draw(signature, 16)))
    assert samples.shape == (16, *signature.output.shape)
    assert np.isfinite(samples).all()
    if isinstance(signature.output, Tokens):
        assert len(np.unique(samples.argmax(axis=-1), axis=0)) > 12, "the samples differ"
    else:
        assert samples.std(axis=0).mean() > 0.05, "the samples differ"
    assert sampler.metadata["model"]["key"] == recipe["plugin"].rpartition("/")[2]


def test_the_wheel_runs_without_the_checkout(tmp_path):
    build = [sys.executable, "-m", "hatchling", "build", "-t", "wheel", "-d", str(tmp_path)]
    subprocess.run(build, check=True, capture_output=True, cwd=ROOT)
    (wheel,) = tmp_path.glob("torch_ganzoo-*.whl")
    assert wheel.stat().st_size < 10e6
    names = files_in(wheel)
    for wanted in (
        "ganzoo/cli/__init__.py",
        "ganzoo_plugins/fc/gan_fc.py",
        "ganzoo_runtime/providers.py",
        "py.typed",
    ):
        assert any(wanted in name for name in names), wanted
    assert not [name for name in names if name.startswith(("tests", "benchmarks", "docs"))]
    target = tmp_path / "elsewhere"
    zipfile.ZipFile(wheel).extractall(target)
    code = (
        "import ganzoo, ganzoo_zoo, sys; from ganzoo.cli import main; "
        f"assert ganzoo.__file__.startswith({str(target)!r}), ganzoo.__file__; "
        "sys.argv[1:] = ['sample', 'zoo:wgan_gp_conv-mnist5k', '--out', 'digits.png']; main()"
    )
    environment = {"PYTHONPATH": str(target), "PATH": ""}
    subprocess.run([sys.executable, "-W", "error", "-c", code], check=True, cwd=tmp_path, env=environment)
    assert (tmp_path / "digits.png").stat().st_size > 1000
    code = (
        "import sys; from ganzoo.cli import main; "
        "sys.argv[1:] = ['sample', 'zoo:acgan-mnist5k', '--out', 'more.png']; main()"
    )
    refused = subprocess.run(
        [sys.executable, "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True
    )
    assert refused.returncode == 2
    assert "pip install 'torch-ganzoo[zoo]'" in refused.stderr
    # The rest of the zoo is a wheel of its own, into the same package: nothing is in both, and nothing in neither.
    subprocess.run(build, check=True, capture_output=True, cwd=ROOT / "zoo")
    (rest,) = tmp_path.glob("torch_ganzoo_zoo-*.whl")
    here, there = ({name for name in each if name.startswith("ganzoo_zoo/")} for each in (names, files_in(rest)))
    assert not here & there
    tracked = {path.relative_to(ROOT / "zoo").as_posix() for path in (ROOT / "zoo" / "ganzoo_zoo").glob("*-*/*")}
    assert here | there == tracked | {"ganzoo_zoo/__init__.py", "ganzoo_zoo/plugin.py", "ganzoo_zoo/LICENSE"}


def files_in(wheel):
    return zipfile.ZipFile(wheel).namelist()
