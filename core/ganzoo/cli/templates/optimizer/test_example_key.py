"""Tests of the optimizer."""

import torch
from example_package.example_key import ExampleKey, ExampleKeyConfig
from ganzoo.testing import check
from torch import nn


def test_it_conforms() -> None:
    check("optimizer:example-name/example_key")


def test_settings_reach_the_optimizer() -> None:
    weight = nn.Parameter(torch.ones(1))
    built = ExampleKey(ExampleKeyConfig(lr=0.1, betas=(0.5, 0.9), weight_decay=0.5)).build([weight])
    (group,) = built.param_groups
    assert (group["lr"], group["betas"], group["decoupled_weight_decay"]) == (0.1, (0.5, 0.9), True)
    weight.grad = torch.zeros(1)
    built.step()
    assert torch.allclose(weight, torch.tensor(0.95))  # 1 - lr * weight_decay: the gradient is zero
