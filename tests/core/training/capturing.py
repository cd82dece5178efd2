"""What tests of captured trainings share. The tape stands in for CUDA graphs where there is no GPU."""

import copy

import torch
from small import made, pixels, small
from small import suited as small_data

from ganzoo import Attributes, Label, Points, load_config, load_registry
from ganzoo.runs import checkpoint
from ganzoo.training.capture import CaptureFailed, Tapes
from ganzoo.training.loop import Loop

REGISTRY = load_registry()
CPU = torch.device("cpu")
SHORT = ("batch_size=4", "steps=100", "seed=0", "device=cpu", "lr_warmup=3")


LABELED, POINTS = made(pixels(1), Label(3)), made(Points(2))
DESCRIBED = made(pixels(3), Attributes(2, examples=((0.0, 1.0),)))
PAIRS = made(pixels(3, "a"), pixels(3, "b"))


def suited(model):
    if fields := small_data(model):
        return made(*fields)
    return PAIRS if model in ("pix2pix", "cyclegan", "discogan", "dualgan") else LABELED


def training(model, *sets, data=None, graphs=Tapes, device=CPU):
    data = data or suited(model)
    config = load_config(REGISTRY, model, sets=[*small(model), *SHORT, *sets])
    checkpoint.seed_random(config.train.seed)
    trainer = config.build_trainer(data.spec)
    trainer.to(device)
    return Loop(trainer, data, config.train, graphs)


def advanced(loop, steps):
    for _ in range(steps):
        loop.advance()
    return loop


def state(loop, averages=True):
    """Everything that a checkpoint holds, as copies."""
    parts = {"networks": {key: each.state_dict() for key, each in loop.trainer.networks.items()}}
    if averages:
        parts["ema"] = {key: each.state_dict() for key, each in loop.ema.items()}
    parts["optimizers"] = {key: each.state_dict()["state"] for key, each in loop.trainer.optimizers.items()}
    return copy.deepcopy({**parts, "trainer": loop.trainer.state_dict(), "random": torch.get_rng_state()})


def assert_same(one, other, **tolerance):
    if not tolerance:
        tolerance = {"rtol": 0, "atol": 0}
    torch.testing.assert_close(one, other, **tolerance)


def assert_captured(loop):
    assert loop.captures.refused == {}
    kinds = {type(each).__name__ for each in loop.captures._known.values()}
    assert kinds == {"_Replay"}
    assert len(loop.captures._known) == len(loop.phases) + 1, "the averaging too"


class Failing(Tapes):
    """Graphs that cannot be made: all runs as it is, with what is set between the runs in tensors."""

    calls = 0

    def record(self, function):
        function()
        type(self).calls += 1
        raise CaptureFailed("out of everything")
