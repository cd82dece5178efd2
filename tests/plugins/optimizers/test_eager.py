"""ganzoo's optimizers are torch's: the same arithmetic, state and hooks."""

import copy
import pickle

import pytest
import torch
from torch import nn

from ganzoo_plugins.optimizers import eager as optimizers

SETTINGS = {
    "Adam": {"lr": 0.1, "betas": (0.5, 0.9), "weight_decay": 0.1, "fused": True},
    "AdamW": {"lr": 0.1, "betas": (0.0, 0.9), "weight_decay": 0.1},
    "RMSprop": {"lr": 0.1, "weight_decay": 0.1},
    "SGD": {"lr": 0.1, "momentum": 0.5},
}


def trained(optimizer: torch.optim.Optimizer, network: nn.Module, steps: int) -> None:
    for number in range(steps):
        network(torch.full((2, 3), number + 1.0)).square().sum().backward()
        optimizer.step()
        optimizer.zero_grad()


@pytest.mark.parametrize("name", SETTINGS)
def test_they_step_as_torchs_do_and_take_each_others_state(name: str) -> None:
    assert set(SETTINGS) == set(optimizers.__all__)
    torch.manual_seed(0)
    network = nn.Linear(3, 2)
    twin = copy.deepcopy(network)
    ours = getattr(optimizers, name)(network.parameters(), **SETTINGS[name])
    theirs = getattr(torch.optim, name)(twin.parameters(), **SETTINGS[name])
    assert type(ours).__name__ == name
    assert isinstance(ours, getattr(torch.optim, name))
    for _ in range(2):
        trained(ours, network, 3)
        trained(theirs, twin, 3)
        assert all(map(torch.equal, network.parameters(), twin.parameters()))
        ours_state, theirs_state = copy.deepcopy((ours.state_dict(), theirs.state_dict()))
        assert str(ours_state) == str(theirs_state)
        ours.load_state_dict(theirs_state)
        theirs.load_state_dict(ours_state)
    assert all(parameter.grad is None for parameter in network.parameters())
    assert not any(parameter.requires_grad for state in ours.state.values() for parameter in state.values())


def test_hooks_copies_and_pickles_work() -> None:
    network = nn.Linear(3, 2)
    optimizer = optimizers.Adam(network.parameters())
    called = []
    optimizer.register_step_pre_hook(lambda *_: called.append("before"))
    optimizer.register_step_post_hook(lambda *_: called.append("after"))
    trained(optimizer, network, 1)
    assert called == ["before", "after"]
    for twin in (copy.deepcopy(optimizer), pickle.loads(pickle.dumps(optimizers.Adam(network.parameters())))):
        assert type(twin) is optimizers.Adam
    assert optimizer.step(lambda: torch.ones(())).item() == 1.0
    with torch.enable_grad():
        assert torch.is_grad_enabled()
