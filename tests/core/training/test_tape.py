"""The tape repeats what a graph would, and finds what none can hold; a snapshot puts everything back."""

import copy
import random

import numpy as np
import pytest
import torch
from capturing import CPU, assert_same
from torch import nn

from ganzoo.training.snapshot import Snapshot
from ganzoo.training.tape import Tape, Uncapturable


def test_a_tape_repeats_views_changes_in_place_random_numbers_and_both_derivatives():
    layer, x, total = nn.Linear(3, 3), torch.zeros(2, 3), torch.zeros(())

    def run():
        noise = torch.rand(2, 3)
        z = (x + noise).requires_grad_()
        (gradient,) = torch.autograd.grad(layer(z).tanh().square().sum(), z, create_graph=True)
        gradient.norm().backward()
        with torch.no_grad():
            layer.weight[0].sub_(layer.weight.grad[0])
            total.add_(noise[:, 1:].t().sum())
        layer.weight.grad = layer.bias.grad = None

    before = copy.deepcopy(layer.state_dict())
    replay = Tape.record(run, CPU)
    found = []
    for each in (replay, run):
        layer.load_state_dict(before)
        total.zero_()
        torch.manual_seed(1)
        for value in (1.0, 2.0):
            x.fill_(value)
            each()
        found.append((layer.weight.clone(), total.clone(), torch.get_rng_state()))
    assert_same(*found)
    assert not torch.equal(found[0][0], before["weight"])


def fixed():
    return torch.ones(3)


KEPT, COUNT = {"state": torch.ones(3)}, torch.ones(3, dtype=torch.int64)


def replaced():
    KEPT["state"] = KEPT["state"] * 2


@pytest.mark.parametrize(
    ("run", "words"),
    [
        (lambda: fixed().sum().item(), "reads a value"),
        (lambda: 1 if (fixed() > 0).any() else 2, "reads a value"),
        (lambda: torch.equal(fixed(), fixed()), "reads a value"),
        (lambda: fixed()[fixed() > 0], "by a mask"),
        (lambda: fixed().index_put_((fixed() > 0,), torch.zeros(())), "by a mask"),
        (lambda: fixed().nonzero(), "whose shape"),
        (lambda: fixed().unique(), "whose shape"),
        (lambda: fixed().repeat_interleave(COUNT), "whose shape"),
        (lambda: torch.rand(3, generator=torch.Generator()), "generator of its own"),
        (lambda: fixed() * torch.tensor(2.0), "host's memory"),
        (lambda: fixed() * torch.from_numpy(np.ones(3)), "host's memory"),
        (lambda: fixed()[[2, 1]], "host's memory"),
        (replaced, "not the same in each run"),
    ],
)
def test_what_a_graph_cannot_hold_is_found(run, words):
    with pytest.raises(Uncapturable, match=words):
        Tape.record(run, CPU)


def test_what_a_graph_can_hold_is_not_mistaken():
    def run():
        x = fixed()
        x[1:] = 2.0  # x[0] would be a copy of one number from the host
        x = torch.where(x > 1, x, x.new_full((), 3.0))[torch.arange(3)]
        return x.clamp(max=2).sum() + torch.full((), 1.0)

    Tape.record(run, CPU)()


def test_a_snapshot_puts_everything_back():
    class Keeper:
        def __init__(self):
            self.numbers, self.names, self.count = [1, 2], {"a": 1}, 3
            self.tensor, self.rng, self.array = torch.zeros(2), random.Random(0), np.zeros(2)
            self.network = nn.Linear(1, 1)
            inner = 0

            def counted():
                nonlocal inner
                inner += 1
                return inner

            self.counted = counted

    keeper = Keeper()
    before = Snapshot({"keeper": keeper})
    assert before.changed() == ""
    changes = {
        "keeper.numbers": lambda: keeper.numbers.append(3),
        "keeper.names": lambda: keeper.names.update(b=2),
        "keeper.count": lambda: setattr(keeper, "count", 4),
        "keeper.rng draws": keeper.rng.random,
        "keeper.array": lambda: keeper.array.fill(1),
        "keeper.counted.inner": keeper.counted,
        "keeper.tensor is replaced": lambda: setattr(keeper, "tensor", keeper.tensor + 1),
        "keeper.network.bias": lambda: setattr(keeper.network, "bias", None),
        "keeper.new is added": lambda: setattr(keeper, "new", 1),
    }
    for words, change in changes.items():
        change()
        assert words in before.changed()
        before.restore()
        assert before.changed() == "", words
    keeper.tensor.add_(1)
    torch.rand(1), random.random()
    assert before.changed() == "", "what a tensor holds may change"
    before.restore()
    assert keeper.tensor.tolist() == [0, 0]
    assert before.read()[0].tolist() == [0, 0]
