"""Weights that are divided among processes: what is kept where, what is saved, and what is refused."""

import pytest
import torch
from safetensors.torch import load_file
from small import made, pixels, small
from test_processes_that_end import QUIETLY, TRAIN
from test_several_processes import ends, together

from ganzoo import Label, UserError, load_config, load_registry
from ganzoo.training.rehearsal import rehearse

KEPT = """
import sys
import torch
from torch import nn
from ganzoo import load_config, load_registry
from ganzoo.training.engine import connected
from ganzoo.training.loop import Loop
from ganzoo.training.sharding import own

with connected() as (engine, _):
    sets = ("shard=true", "model.hidden=[1024, 1024, 1024]", "batch_size=4", "device=cpu", "data.name=gaussians")
    config = load_config(load_registry(), "gan_fc", sets=sets)
    data = config.build_dataset()
    loop = Loop(config.build_trainer(data.spec), data, config.train, engine=engine)
    generator, most = loop.trainer.networks["generator"], 0

    def note(*of_torch):
        global most
        most = max(most, sum(each.numel() for each in generator.parameters() if own(each) is each))

    for module in generator.modules():
        module.register_forward_pre_hook(note)
    loop.advance()
    optimizer = loop.trainer.optimizers["generator"]
    states = [value for each in optimizer.state.values() for value in each.values() if value.dim()]
    for parts in (list(generator.parameters()), list(loop.ema["generator"].parameters()), states):
        print(sum(own(each).numel() for each in parts), sum(each.numel() for each in parts))
    print(most)
    with loop.whole():
        nn.init.constant_(next(generator.parameters()), engine.share.world)
    print(own(next(generator.parameters())).unique().tolist())
"""


def test_each_process_keeps_its_part():
    codes, said = ends(together("-c", KEPT))
    assert codes == [0, 0], said
    lines = [[line.split() for line in out.splitlines()] for out, _ in said]
    for (mine, whole), (other, _) in zip(lines[0][:3], lines[1][:3], strict=True):
        assert int(mine) + int(other) == int(whole)
        assert abs(int(mine) - int(other)) <= 0.1 * int(whole)
    # The two large layers are never whole together.
    assert lines[0][3] == lines[1][3] == [str(int(lines[0][0][1]) - (1024 * 1024 + 1024))]
    assert lines[0][4] == lines[1][4] == ["[2.0]"]


@pytest.mark.slow
def test_it_goes_on_without_and_with_again(tmp_path):
    """What is saved says nothing of how it was computed; the end is that of one process."""
    for name, legs in {
        "alone": [(1, "false", 15)],
        "shared": [(2, "true", 5), (1, "false", 10), (3, "true", 15)],
        "again": [(1, "true", 5), (2, "true", 15)],
    }.items():
        out = tmp_path / name
        for world, shard, steps in legs:
            first = not out.exists()
            start = (*TRAIN[1:], "--set", "batch_size=6", *QUIETLY, "--out", str(out))
            more = start if first else ("--resume", str(next(out.iterdir())), "-q")
            command = ("-m", "ganzoo", "train", *more, "--set", f"shard={shard}", "--steps", str(steps))
            codes, said = ends(together(*command, world=world))
            assert not any(codes), said
    for other in ("shared", "again"):
        for kind in ("networks", "ema"):
            files = [
                next((tmp_path / each).glob(f"*/checkpoints/step-000015/{kind}.safetensors"))
                for each in ("alone", other)
            ]
            expected, found = map(load_file, files)
            assert expected.keys() == found.keys()
            assert all(torch.allclose(found[key], expected[key], atol=1e-5) for key in expected)
        states = [
            torch.load(next((tmp_path / each).glob("*/checkpoints/step-000015/state.pt")), weights_only=True)
            for each in ("alone", other)
        ]
        for moments in (each["optimizers"]["generator"]["state"] for each in states):
            assert all(type(value) is torch.Tensor for each in moments.values() for value in each.values())
        shapes = [
            [value.shape for each in state["optimizers"]["generator"]["state"].values() for value in each.values()]
            for state in states
        ]
        assert shapes[0] == shapes[1]


@pytest.mark.parametrize(
    ("model", "sentence"),
    [
        ("r3gan", "for losses without derivatives in them, and r1 or r2 takes some: leave it out"),
        ("infogan", "those of the discriminator are used elsewhere"),
        ("biggan", "those of the generator are used elsewhere"),
        ("progan", "not for a model that grows"),
    ],
)
def test_what_cannot_be_divided_is_refused(model, sentence):
    data = made(pixels(3), Label(3))
    sets = [*small(model), "device=cpu", "batch_size=8", "shard=true"]
    with pytest.raises(UserError, match=sentence):
        rehearse(load_config(load_registry(), model, sets=sets), data, quiet=True)
