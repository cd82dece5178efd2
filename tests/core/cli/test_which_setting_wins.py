"""Flags, settings, files, presets and defaults: which of them wins, and for which plugin."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from conftest import TINY, Command, tree
from PIL import Image


@pytest.fixture
def dry(cli: Command) -> Callable[..., dict[str, object]]:
    """Resolve a config with ``--dry-run`` and return it flat."""
    import tomllib

    from ganzoo.config.merging import flat

    def resolve(*arguments: str) -> dict[str, object]:
        outcome = cli("train", *arguments, "--dry-run")
        assert (outcome.code, outcome.err) == (0, ""), outcome
        return flat(tomllib.loads(outcome.out))  # facts that are no settings are comments

    return resolve


def test_flags_beat_set_beats_file_beats_preset_beats_defaults(dry: Callable[..., dict[str, object]]) -> None:
    names = ["steps", "seed", "batch_size", "model.network", "model.optimizer.name", "ema"]
    Path("file.toml").write_text("steps = 11\nseed = 11\nbatch_size = 11\n[model]\nnetwork = 'compact'\n")
    layers = [
        ["--preset", "textbook"],
        ["--config", "file.toml"],
        ["--set", "steps=12", "--set", "seed=12", "--set", "steps=13"],
        ["--steps", "14"],
        ["-p", "wgan_gp_conv"],
        ["--data", "digits"],
    ]
    for order in (layers, layers[::-1], layers[3:] + layers[:3]):
        config = dry(*(argument for layer in order for argument in layer))
        assert [config[name] for name in names] == [14, 12, 11, "compact", "adamw", 0.998]


def test_settings_belong_to_the_plugin_that_is_chosen(dry: Callable[..., dict[str, object]]) -> None:
    Path("images").mkdir()
    Image.new("L", (8, 8)).save("images/a.png")
    for arguments in (
        ["--data", "folder", "--set", "data.path=images"],
        ["--set", "data.path=images", "--data", "folder"],
        ["--set", "data.path=images", "--set", "data.name=folder"],
        ["--set", "data.name=folder", "--set", "data.path=images"],
        ["--set", "data.name=gaussians", "--set", "data.path=images", "--data", "folder"],
    ):
        config = dry("-p", "wgan_gp_conv", *arguments)
        assert (config["data.name"], config["data.path"]) == ("torch-ganzoo/folder", str(Path("images").absolute()))


def test_what_a_file_says_of_other_plugins_is_left_out(dry: Callable[..., dict[str, object]]) -> None:
    Path("file.toml").write_text(
        "plugin = 'wgan_gp_conv'\nseed = 5\n[model]\nwidth = 3\n[data]\nname = 'gaussians'\nsigma = 0.5\n"
        "[loss]\nname = 'wgan_gp'\n[regularizer.gradient_penalty]\nweight = 3\n[metric.modes]\nsamples = 7\n"
    )
    config = dry("--config", "file.toml", "-p", "gan_fc", "--data", "digits", "--loss", "wgan")
    assert config["seed"] == 5
    assert [name for name in config if name.startswith(("data", "loss", "regularizer", "metric"))] == [
        "data.name",
        "loss.name",
        "loss.drift",
        *(f"regularizer.torch-ganzoo/weight_clip.{name}" for name in ("weight", "interval", "limit")),
    ]
    config = dry("--config", "file.toml", "-p", "gan_fc")
    assert config["data.sigma"] == 0.5
    assert config["metric.torch-ganzoo/modes.samples"] == 7
    assert config["regularizer.torch-ganzoo/gradient_penalty.weight"] == 3


def test_names_in_full_and_quoted_names_mean_the_same(dry: Callable[..., dict[str, object]]) -> None:
    for name in ("gradient_penalty", "torch-ganzoo/gradient_penalty", '"torch-ganzoo/gradient_penalty"'):
        config = dry("-p", "torch-ganzoo/wgan_gp_conv", "--data", "digits", "--set", f"regularizer.{name}.weight=3")
        assert config["regularizer.torch-ganzoo/gradient_penalty.weight"] == 3


def test_a_dry_run_writes_nothing_and_says_what_it_would_do(cli: Command) -> None:
    outcome = cli("train", *TINY["digits"], "--dry-run")
    assert tree(Path()) == {}
    fields = "x: images, 8 x 8, grey, y: a label of 10 classes"
    assert f"# data: digits, 1,797 samples, {fields}\n# generator: " in outcome.out
    assert "# phase discriminator: every step, updates discriminator" in outcome.out
    assert "MiB" in outcome.out
