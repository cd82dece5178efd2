"""Several processes that share a training end where one alone does, and end together."""

import json
import os
import socket
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from ganzoo import UserError, load_registry
from ganzoo.data.shares import Draws, Share
from ganzoo.training import engine as engines
from ganzoo.training.engine import found_place

HERE = Path(__file__).parent
FIVE = (
    *("wgan_gp_conv", "r3gan", "cyclegan", "dcgan,model.batch_norm=both,regularizer.r1=false"),
    "stylegan2,regularizer.path_length.interval=2,regularizer.r1.interval=4",
)
MORE = (
    *("began", "cgan_matching", "infogan", "vaegan", "sagan", "biggan", "pix2pix,model.dropout=0.5"),
    *("dcgan,model.pack=2", "dcgan,model.augment.policy=ada,model.augment.target=0.6,model.augment.images=100"),
    "dcgan,loss.name=wgan,regularizer.dragan.weight=10",
    # A bias before batch norm has a gradient of rounding alone, and Adam makes steps of it: one process too ends 1e-7
    # apart if its first weights differ in their last digit.
    *(
        f"{each},model.optimizer.name=sgd,model.optimizer.lr=0.01"
        for each in ("inpaint,model.latent_dim=4,model.diversity_weight=1", "inpaint_z")
    ),
    *("text2image,regularizer.mode_seeking.interval=2", "dcgan,regularizer.mode_seeking.weight=1"),
    *("ctgan,model.dropout=0", "scratchgan,data:texts"),
    "text_mle,data:texts,model.optimizer.name=sgd",  # likelihoods are float32, of which Adam makes steps
    "seqgan,data:texts,model.mle_steps=2,model.warmup_steps=1,model.roll_outs=2,model.optimizer.name=sgd",
)

SHARDED = (
    *("dcgan,regularizer.r1=false", "pix2pix,model.dropout=0.5", "sngan,clip_grad=0.1", "cgan_projection,accumulate=2"),
    "gan_fc,data:points,model.optimizer.name=sgd",
    "dcgan,regularizer.r1=false,model.width=192,model.optimizer.name=sgd",  # with blocks that are divided by themselves
    # With weights that are single numbers; the last one's trainer calls parts of its generator.
    *("sagan,clip_grad=0.1", "biggan,regularizer.orthogonal=false,accumulate=2"),
    "stylegan2,regularizer.path_length=false,regularizer.r1=false",
)


def together(*command, world=2, wait="60"):
    """Start so many processes that know of each other; return them."""
    with socket.socket() as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    path = os.pathsep.join([str(HERE.parents[1]), os.environ.get("PYTHONPATH", "")])
    known = {"MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), "WORLD_SIZE": str(world), "PYTHONPATH": path}
    known |= {"GANZOO_TIMEOUT": wait, "OMP_NUM_THREADS": "1"}
    return [
        subprocess.Popen(
            [sys.executable, *command],
            env={**os.environ, **known, "RANK": str(rank), "LOCAL_RANK": str(rank)},
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(world)
    ]


def ends(processes, limit=300):
    """Return the exit codes and what was said, by rank."""
    try:
        said = [each.communicate(timeout=limit) for each in processes]
    finally:
        for each in processes:
            each.kill()
    return [each.returncode for each in processes], said


def distances(steps, trainings, world=2):
    command = ("-W", "error::UserWarning", str(HERE / "sharing.py"), str(steps), *trainings)
    codes, said = ends(together(*command, world=world))
    assert not any(codes), said
    return {name: distance for name, distance, _ in map(json.loads, said[0][0].splitlines())}


def test_two_processes_are_one():
    """Losses with five critic steps, penalties, batch norm, a pool of images, lazy phases: to the last digits."""
    found = distances(3, FIVE)
    assert found.keys() == set(FIVE)
    assert max(found.values()) < 1e-9, found


def test_two_that_share_weights_are_one():
    """With batch norm, and with dropout, whose numbers follow the layout of maps in memory; with single numbers."""
    found = distances(3, [f"{each},shard=true" for each in (*SHARDED[:2], SHARDED[-1])])
    assert len(found) == 3
    assert max(found.values()) < 1e-9, found


@pytest.mark.slow
def test_two_processes_are_one_for_long():
    found = distances(20, FIVE)
    assert max(found.values()) < 1e-9, found


@pytest.mark.slow
def test_what_mixes_samples_sees_all_of_them():
    found = distances(4, MORE)
    assert max(found.values()) < 1e-9, found


@pytest.mark.slow
def test_every_other_model_is_one_too():
    listed = {each.partition(",")[0] for each in (*FIVE, *MORE)}
    models = [entry.spec.key for entry in load_registry().specs("model") if entry.distribution == "torch-ganzoo"]
    found = distances(2, sorted({*models} - listed))
    assert max(found.values()) < 1e-9, found


@pytest.mark.slow
@pytest.mark.parametrize("world", [2, 3])
def test_those_that_share_weights_are_one(world):
    """Weights are not divided evenly by three; gradients are clipped, accumulated, and taken by other optimizers."""
    found = distances(4, [f"{each},shard=true,batch_size={world * 4}" for each in SHARDED], world=world)
    assert max(found.values()) < 1e-9, found


@pytest.mark.slow
def test_four_processes_are_one():
    found = distances(4, [*FIVE, "sagan", "biggan"], world=4)
    assert max(found.values()) < 1e-9, found


@pytest.mark.parametrize("world", [2, 4])
def test_each_sample_has_its_numbers_whoever_draws_them(world):
    """Whatever is drawn, the rows of all processes are those that one draws."""
    x = torch.rand(8, 3, 4, 4).contiguous(memory_format=torch.channels_last)
    rows = 8 // world
    draws = {
        "randn": lambda x: torch.randn(len(x), 5),
        "rand": lambda x: torch.rand((len(x), 2)),
        "randint": lambda x: torch.randint(3, 9, (len(x), 1, 1)),
        "like": torch.randn_like,
        "in place": lambda x: torch.empty(len(x), 7).exponential_(),
        "dropout": lambda x: torch.nn.functional.dropout(x, 0.5),
        "maps": lambda x: torch.nn.functional.dropout2d(x, 0.5),
        "normal": lambda x: torch.normal(0.0, 2.0, (len(x), 3)),
        "of means": lambda x: torch.normal(x[:, 0], x[:, 1]),
        "multinomial": lambda x: torch.multinomial(x.flatten(1), 4),
        "gumbel": lambda x: torch.nn.functional.gumbel_softmax(x.flatten(1), hard=True),
        "half": lambda x: torch.randn(len(x) // 2, 3),
        "for all": lambda x: torch.rand(()),
        "own generator": lambda x: torch.rand(len(x), generator=torch.Generator().manual_seed(3)),
    }
    for name, draw in draws.items():
        torch.manual_seed(0)
        whole, after = draw(x), torch.get_rng_state()
        parts = []
        for rank in range(world):
            torch.manual_seed(0)
            share = Share(rank, world)
            with Draws(share, rows):
                parts.append(draw(share.of(x)))
            assert torch.get_rng_state().equal(after), name
        assert torch.equal(whole, parts[0] if name == "for all" else torch.cat(parts)), name
    # Two batches, one behind the other: each process has its rows of both.
    torch.manual_seed(0)
    first, second = torch.randn(16, 2).chunk(2)
    torch.manual_seed(0)
    with Draws(Share(1, world), rows):
        found = torch.randn(2 * rows, 2)
    assert torch.equal(found, torch.cat([Share(1, world).of(first), Share(1, world).of(second)]))


def test_launchers_are_found(monkeypatch):
    for name in ("RANK", "WORLD_SIZE", "LOCAL_RANK", "TORCHELASTIC_RUN_ID", "TORCHELASTIC_RESTART_COUNT"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("SLURM_PROCID", "0")
    monkeypatch.setenv("SLURM_NTASKS", "4")
    assert found_place() is None  # the batch script itself, not what srun starts
    for name, value in {"STEP_NUM_TASKS": 4, "PROCID": 3, "LOCALID": 1, "JOB_ID": 61}.items():
        monkeypatch.setenv(f"SLURM_{name}", str(value))
    monkeypatch.setenv("SLURM_STEP_NODELIST", "gpu[03-07,11].site,login")
    for name in ("MASTER_ADDR", "MASTER_PORT"):
        monkeypatch.delenv(name, raising=False)
    assert found_place() == (3, 4, 1, "slurm-61", False)
    assert (os.environ["MASTER_ADDR"], os.environ["MASTER_PORT"]) == ("gpu03.site", "20061")
    for name, value in {"RANK": "1", "WORLD_SIZE": "2", "TORCHELASTIC_RESTART_COUNT": "1"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "night")
    assert found_place() == (1, 2, 0, "night", True)
    monkeypatch.setenv("RANK", "2")
    with pytest.raises(UserError, match="process 2 of 2"):
        found_place()
    monkeypatch.setenv("RANK", "one")
    with pytest.raises(UserError, match="RANK is the number of a launcher, not 'one'"):
        found_place()


def test_a_host_of_slurm():
    for nodes, first in {"a": "a", "a,b": "a", "n[1-3]": "n1", "n[07,09]": "n07", "x[2].y": "x2.y"}.items():
        assert engines._first_host(nodes) == first


COMPUTED = """
import torch
from ganzoo.training.engine import connected

with connected() as (engine, _):
    for rows in (7, 4, 9):
        seen = []
        found = engine.computed(rows, 2, lambda part: seen.append(part) or torch.arange(0.0, rows)[part, None])
        print([(part.start, part.stop) for part in seen], found.flatten().tolist() if engine.writes else "")
"""


def test_samples_of_metrics_are_computed_by_all():
    """Each process has whole batches of them, and the first gets the rest."""
    codes, said = ends(together("-c", COMPUTED, world=3))
    assert codes == [0, 0, 0], said
    numbers = [[float(each) for each in range(rows)] for rows in (7, 4, 9)]
    shares = ["[(0, 4)]", "[(0, 2)]", "[(0, 4)]"], ["[(4, 7)]", "[(2, 4)]", "[(4, 8)]"], ["[]", "[]", "[(8, 9)]"]
    assert said[0][0].splitlines() == [f"{share} {each}" for share, each in zip(shares[0], numbers, strict=True)]
    for rank in (1, 2):
        assert [line.strip() for line in said[rank][0].splitlines()] == shares[rank]
