"""Plugins that are chosen by name among other settings: optimizers, schedules and augmentations."""

from __future__ import annotations

from pathlib import Path

import pytest
import tomli_w
import torch
from sites import Site, importable

from ganzoo import Config, OptimizerConfig, UserError, load_config, load_registry
from ganzoo.training.rehearsal import rehearse

SGD = ("model.optimizer.name=sgd", "model.optimizer.momentum=0.5")


def resolved(*sets: str, **layers: object) -> Config:
    return load_config(load_registry(), "dcgan", sets=("data.name=digits", "model.width=2", *sets), **layers)


def optimizer(config: Config) -> OptimizerConfig:
    return config.model.settings.optimizer  # type: ignore[attr-defined, no-any-return]


def test_the_settings_are_those_of_the_plugin_that_is_named() -> None:
    chosen = optimizer(resolved(*SGD))
    assert chosen.model_dump() | {"betas": None} == {
        "name": "sgd",
        "lr": 2e-3,
        "betas": None,
        "weight_decay": 0.0,
        "momentum": 0.5,
    }, "the learning rate is the model's"
    built = chosen.build([torch.nn.Parameter(torch.zeros(1))], lr=0.1)
    assert isinstance(built, torch.optim.SGD)
    assert (built.param_groups[0]["lr"], built.param_groups[0]["momentum"]) == (0.1, 0.5)
    assert optimizer(resolved("model.optimizer=sgd")).lr == 2e-3
    assert type(OptimizerConfig(name="sgd").build([torch.nn.Parameter(torch.zeros(1))])).__name__ == "SGD"


def test_what_is_written_reads_back_and_old_files_still_do(tmp_path: Path) -> None:
    config = resolved(
        *SGD, "lr_schedule=step", "lr_schedule.every=7", 'model.augment.policy=["color", {name = "cutout", size = 0.3}]'
    )
    path = tmp_path / "config.toml"
    path.write_text(tomli_w.dumps(config.to_dict()))
    assert load_config(load_registry(), file=path) == config
    old = {
        "plugin": "dcgan",
        "lr_schedule": "cosine",
        "data": {"name": "digits"},
        "model": {"width": 2, "augment": {"policy": ["color"]}, "optimizer": {"name": "rmsprop", "lr": 1e-3}},
    }
    path.write_text(tomli_w.dumps(old))
    config = load_config(load_registry(), file=path)
    assert config.train.lr_schedule.name == "cosine"
    assert optimizer(config).name == "rmsprop"
    assert [each.name for each in config.model.settings.augment.policy] == ["color"]  # type: ignore[attr-defined]


def test_a_schedule_that_is_named_anew_drops_the_settings_of_the_one_before(tmp_path: Path) -> None:
    path = tmp_path / "config.toml"
    path.write_text(tomli_w.dumps(resolved("lr_schedule=step", "lr_schedule.every=7").to_dict()))
    config = resolved("lr_schedule=cosine", file=path)
    assert config.to_dict()["lr_schedule"] == {"name": "cosine", "end": 0.0, "until": 1.0}
    config = resolved("lr_schedule.gamma=0.1", file=path)
    assert config.to_dict()["lr_schedule"] == {"name": "step", "every": 7, "gamma": 0.1}


@pytest.mark.parametrize(
    ("sets", "words"),
    [
        (("model.optimizer.name=sdg",), "unknown optimizer 'sdg'; did you mean 'sgd'?"),
        (("model.optimizer.momentum=0.5",), "unknown setting 'model.optimizer.momentum'"),
        (("model.optimizer.name=sgd", "model.optimizer.momentun=1"), "did you mean 'model.optimizer.momentum'?"),
        (
            ("model.optimizer.name=sgd", "model.optimizer.momentum=1"),
            "'model.optimizer.momentum': it is below 1",
        ),
        (("model.optimizer.name=3",), "setting 'model.optimizer.name': it is a text, not 3"),
        (("lr_schedule=linaer",), "unknown schedule 'linaer'; did you mean 'linear'?"),
        (("lr_schedule=3",), "'lr_schedule' is a table of settings, not 3"),
        (("lr_schedule=step", "lr_schedule.evry=3"), "did you mean 'lr_schedule.every'?"),
        (('model.augment.policy=["colour"]',), "unknown augmentation 'colour'; did you mean 'color'?"),
        (('model.augment.policy=[{name = "color", size = 1}]',), "unknown setting 'model.augment.policy"),
    ],
)
def test_what_is_wrong_is_one_sentence(sets: tuple[str, ...], words: str) -> None:
    with pytest.raises(UserError) as refused:
        resolved(*sets)
    assert words in str(refused.value)
    assert "\n" not in str(refused.value)


PLUGIN = """
NAMES = {"optimizer": "Bad", "schedule": "Half", "augmentation": "Crop"}

@hookimpl
def ganzoo_specs():
    return [Spec(kind, name.lower(), "Summary.", f"bad_things:{name}") for kind, name in NAMES.items()]
"""
THINGS = """
from ganzoo import Augmentation, Optimizer, Schedule

class Bad(Optimizer):
    def build(self, parameters):
        raise KeyError("momentum")

class Half(Schedule):
    def __call__(self, step, steps):
        return 1 / (steps // 2 - step)

class Crop(Augmentation):
    def __call__(self, x):
        return x[..., 1:]
"""


@pytest.mark.parametrize(
    ("setting", "words"),
    [
        ("model.optimizer.name=bad", "the optimizer 'bad/bad' cannot be made with its settings: KeyError: 'momentum'"),
        ("lr_schedule=half", "the schedule 'bad/half' fails in step 5 of 10: ZeroDivisionError"),
        ('model.augment.policy=["crop"]', "the augmentation 'bad/crop' returns [2, 1, 8, 7] for images [2, 1, 8, 8]"),
    ],
)
def test_a_plugin_that_fails_is_named_before_there_is_a_run(tmp_path: Path, setting: str, words: str) -> None:
    Site(tmp_path).add("bad", plugin=PLUGIN)
    (tmp_path / "bad_things.py").write_text(THINGS)
    sets = ("data.name=digits", "model.hidden=[8]", "steps=10", setting)
    with importable(tmp_path):
        config = load_config(load_registry(), "gan_fc", sets=sets)
        with pytest.raises(UserError) as refused:
            rehearse(config, config.build_dataset())
    assert words in str(refused.value)
