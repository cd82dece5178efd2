"""One of several processes that train together, for tests: python sharing.py STEPS MODEL[,SETTING...] ...

Process 0 prints how far the weights are from those that one process alone has after the same steps, in float64.
"""

import json
import sys

import torch
from small import made, pixels, small, suited

from ganzoo import Attributes, Label, Points, Tokens, load_config, load_registry
from ganzoo.runs import checkpoint
from ganzoo.training.engine import SINGLE, connected
from ganzoo.training.loop import Loop
from ganzoo.training.state import agree

SHORT = ("batch_size=8", "steps=100", "seed=0", "device=cpu", "lr_warmup=3", "precision=fp32")
PAIRED = ("pix2pix", "cyclegan", "discogan", "dualgan")
DATA = {
    "labels": made(pixels(1), Label(3)),
    "pairs": made(pixels(3, "a"), pixels(3, "b")),
    "texts": made(Tokens(5, 7, ("", *"abcdef"))),
    "points": made(Points(2)),
    "attributes": made(pixels(3), Attributes(2, examples=((0.0, 1.0),))),
}


def trained(engine, steps, model, *sets):
    kinds = [each.removeprefix("data:") for each in sets if each.startswith("data:")]
    kind = kinds[0] if kinds else "pairs" if model in PAIRED else "labels"
    data = made(*suited(model)) if suited(model) and not kinds else DATA[kind]
    sets = [each for each in sets if not each.startswith("data:")]
    config = load_config(load_registry(), model, sets=[*small(model), *SHORT, *sets])
    checkpoint.seed_random(0)
    trainer = config.build_trainer(data.spec)
    for network in trainer.networks.values():
        network.double()
    prepare = trainer.prepare
    trainer.prepare = lambda batch: {
        name: each.double() if each.is_floating_point() else each for name, each in prepare(batch).items()
    }
    loop = Loop(trainer, data, config.train, engine=engine)
    for _ in range(steps):
        loop.advance()
    agree(engine, trainer, loop.ema)
    with loop.whole(load=False):
        return {
            f"{what}{name}.{key}": value
            for what, networks in (("", trainer.networks), ("ema ", loop.ema))
            for name, each in networks.items()
            for key, value in each.state_dict().items()
        }


def main():
    torch.set_default_dtype(torch.float64)
    torch.set_num_threads(1)
    steps, *trainings = sys.argv[1:]
    with connected() as (engine, _):
        for each in trainings:
            model, *sets = each.split(",")
            shared = trained(engine, int(steps), model, *sets)
            if engine.writes:
                alone = trained(SINGLE, int(steps), model, *sets)
                distances = {
                    key: float((shared[key].double() - alone[key].double()).abs().max())
                    for key in alone
                    if alone[key].numel()
                }
                worst = max(distances, key=distances.__getitem__)
                print(json.dumps([each, distances[worst], worst]), flush=True)


if __name__ == "__main__":
    main()
