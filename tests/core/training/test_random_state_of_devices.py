"""Which GPU's random state a checkpoint holds, and which GPU gets it back."""

import pytest
import torch

from ganzoo.runs import checkpoint


@pytest.fixture
def gpus(monkeypatch):
    """Pretend to have four GPUs; return the states of their generators."""
    states = {index: torch.tensor([index]) for index in range(4)}
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "get_rng_state", lambda device: states[device.index])
    monkeypatch.setattr(torch.cuda, "get_rng_state_all", lambda: list(states.values()))
    monkeypatch.setattr(torch.cuda, "set_rng_state", lambda state, device: states.update({device.index: state}))
    return states


@pytest.mark.parametrize("resumed", [0, 1, 3])
def test_each_process_goes_on_with_the_state_of_the_gpu_that_trained(gpus, resumed):
    """The first process writes, from its GPU; a process with another GPU draws the same numbers from then on."""
    state = checkpoint.random_state(torch.device("cuda", 0))
    assert state["cuda"] == [torch.tensor([0])]
    gpus[0] = gpus[resumed] = torch.tensor([99])
    checkpoint.restore_random_state(state, torch.device("cuda", resumed))
    assert gpus[resumed].tolist() == [0]
    assert [gpus[other].tolist() for other in range(4) if other not in (0, resumed)] == [
        [other] for other in range(4) if other not in (0, resumed)
    ]


def test_older_checkpoints_hold_all_of_them(gpus):
    state = checkpoint.random_state()
    for each in gpus:
        gpus[each] = torch.tensor([99])
    checkpoint.restore_random_state(state, torch.device("cuda", 2))
    assert {index: found.item() for index, found in gpus.items()} == {0: 99, 1: 99, 2: 2, 3: 99}
    checkpoint.restore_random_state({**state, "cuda": state["cuda"][:2]}, torch.device("cuda", 2))
    assert gpus[2].item() == 0
    checkpoint.restore_random_state(state, torch.device("cpu"))
    assert gpus[3].item() == 99


def test_a_training_without_a_gpu_holds_none(gpus):
    assert checkpoint.random_state(torch.device("cpu"))["cuda"] == []
