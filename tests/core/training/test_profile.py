"""What a profile says is in its trace, and the training after it is as without."""

import gzip
import json

import pytest
import torch

from ganzoo import load_config, load_registry, train
from ganzoo.runs import checkpoint
from ganzoo.training import profile as module
from ganzoo.training.loop import Loop

ASKED = {"data": "gaussians", "sets": ("model.hidden=[8]", "data.size=500", "batch_size=10"), "steps": 2, "quiet": True}


@pytest.fixture
def few(monkeypatch):
    monkeypatch.setattr(module, "STEPS", 3)
    monkeypatch.setattr(module, "WARM_UP", 1)
    monkeypatch.setattr(module, "_limits", lambda device: {"fp32": 1e9, "bf16": 1e9, "copy": 1e9})


def prepared(name, *sets):
    config = load_config(load_registry(), name, sets=sets)
    return config, config.build_dataset()


@pytest.mark.parametrize("name", ["gan_fc", "wgan_gp_conv"])
def test_the_trace_read_back(few, tmp_path, monkeypatch, name):
    monkeypatch.setattr(module, "LARGEST", 1000)
    config, dataset = prepared(name, "data.name='digits'", "batch_size=10", "accumulate=2")
    found = module.profile(config, dataset, tmp_path)
    assert found.trace == tmp_path / "profile.json"
    events = json.loads(found.trace.read_text())["traceEvents"]
    operators = [each for each in events if each.get("cat") == "cpu_op"]
    names = {each["name"] for each in operators}
    assert {name for name, _ in found.largest} == names
    shares = [share for _, share in found.largest]
    assert shares == sorted(shares, reverse=True)
    assert sum(shares) == pytest.approx(1)
    # The same share from the trace: operators that are in no other, over the time from the first to the last.
    threads = {}
    for each in operators:
        threads.setdefault(each["tid"], []).append((each["ts"], each["ts"] + each["dur"]))
    spans = [span for each in threads.values() for span in each]
    whole = max(end for _, end in spans) - min(start for start, _ in spans)
    assert found.busy == pytest.approx(sum(map(module._union, threads.values())) / whole, abs=0.2)
    updates = sum(each["name"] == "aten::_fused_adam_" for each in operators)
    assert updates == 3 * 2, "three steps of two phases"
    assert found.samples_per_second == pytest.approx(20 / (found.milliseconds / 1e3))


def test_operations_are_counted(few, tmp_path):
    config, dataset = prepared("gan_fc", "data.name='gaussians'", "model.hidden=[8]", "model.latent_dim=4")
    found = module.profile(config, dataset, tmp_path)
    loop = Loop(config.build_trainer(dataset.spec), dataset, config.train)
    with torch.utils.flop_counter.FlopCounterMode(display=False) as counter:
        for phase in loop.phases:
            loop.differentiate(phase)
    assert found.flops == counter.get_total_flops() > 0
    assert found.attained == pytest.approx(found.flops / (found.milliseconds / 1e3) / 1e9)


def test_lazy_and_repeated_phases_count_as_often_as_they_run(monkeypatch):
    config, dataset = prepared("gan_fc", "data.name='gaussians'", "model.hidden=[8]")
    loop = Loop(config.build_trainer(dataset.spec), dataset, config.train)
    once = [module._flops(loop)]
    first, _ = loop.phases
    for repeat, every in ((3, 1), (1, 4)):
        object.__setattr__(first, "repeat", repeat)
        object.__setattr__(first, "every", every)
        once.append(module._flops(loop))
    of_first = (once[1] - once[0]) / 2
    assert of_first > 0
    assert once[2] == pytest.approx(once[0] - of_first * 3 / 4)


def test_a_large_trace_is_compressed(few, tmp_path, monkeypatch):
    (tmp_path / "profile.json").write_text("of an earlier profile")
    monkeypatch.setattr(module, "COMPRESSED", 1000)
    found = module.profile(*prepared("gan_fc", "data.name='gaussians'"), tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["profile.json.gz"]
    assert json.loads(gzip.decompress(found.trace.read_bytes()))["traceEvents"]


def test_kernels_that_overlap_count_once():
    assert module._union([(5, 6), (0, 3), (1, 2), (2, 4)]) == 5
    assert module._union([]) == 0


def test_the_training_after_it_is_the_same(few, tmp_path, capfd):
    states = []
    for profiled in (False, True):
        run = train("gan_fc", out=tmp_path / str(profiled), profile=profiled, **ASKED)
        assert (run.path / "profile.json").is_file() is profiled
        step, state = checkpoint.load_state(checkpoint.latest(run.checkpoints))
        weights = (checkpoint.latest(run.checkpoints) / "networks.safetensors").read_bytes()
        losses = [{**row, "samples_per_second": 0, "peak_memory_mib": 0} for row in run.metrics()]
        states.append((step, state["position"], state["random"]["torch"].tolist(), weights, losses))
    assert states[0] == states[1]
    said = capfd.readouterr().err
    assert said.startswith("profile of 3 steps on cpu; trace")
    assert len(said.splitlines()) == 5 + module.LARGEST


def test_a_training_of_few_steps_is_profiled_on_a_falling_rate(few, tmp_path):
    config, dataset = prepared("gan_fc", "data.name='gaussians'", "steps=2", "lr_schedule='linear'", "batch_size=10")
    assert module.profile(config, dataset, tmp_path).milliseconds > 0


def test_a_resumed_run_can_be_profiled(few, tmp_path):
    run = train("gan_fc", out=tmp_path, **ASKED)
    train(resume=run.path, steps=3, profile=True, quiet=True)
    assert (run.path / "profile.json").is_file()


def test_a_dry_run_takes_no_steps_to_profile(cli):
    cli("train", "-p", "gan_fc", "--dry-run", "--profile").refused("--dry-run takes no step")


def test_the_limits_of_this_machine():
    before = torch.backends.cuda.matmul.fp32_precision
    limits = module._limits(torch.device("cpu"))
    assert limits.keys() == {"fp32", "bf16", "copy"}
    assert all(1e8 < rate < 1e15 for rate in limits.values())
    assert torch.backends.cuda.matmul.fp32_precision == before
