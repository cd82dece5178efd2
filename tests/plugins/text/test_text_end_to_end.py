"""Models of text from training to a file: resume across the phases of SeqGAN, the same tokens everywhere, commands."""

import math

import numpy as np
import pytest
import torch
from small import small

import ganzoo
from ganzoo import DataSpec, Loop, TensorDataset, Tokens, load_registry
from ganzoo.config.resolving import load_config
from ganzoo.gan.metrics import MetricConfig
from ganzoo.runs import checkpoint
from ganzoo_plugins.datasets.sentences import Sentences
from ganzoo_plugins.metrics.nll_test import NLLTest
from ganzoo_runtime import Generator

LETTERS = Tokens(5, 12, ("", *"abcdefghijk"))


def letters():
    """Return words of the alphabet, each letter followed by the next one or the end."""
    starts = torch.randint(1, 8, (60, 1), generator=torch.Generator().manual_seed(0))
    rows = starts + torch.arange(5)
    rows[torch.arange(60), torch.arange(60) % 5] = 0
    return TensorDataset(DataSpec("letters", (LETTERS,), 60), {"x": rows})


def loop(model, *sets):
    data = letters()
    config = load_config(load_registry(), model, sets=[*small(model), "batch_size=8", *sets])
    checkpoint.seed_random(0)
    return Loop(config.build_trainer(data.spec), data, config.train)


@pytest.mark.parametrize("stop", [1, 2, 3, 4, 5])
def test_seqgan_resumes_to_the_bit_in_and_between_its_phases(tmp_path, stop):
    sets = ("model.mle_steps=4", "model.warmup_steps=2")
    whole = loop("seqgan", *sets)
    for step in range(6):
        if step == stop:
            saved = whole.save(tmp_path)
        whole.advance()
    other = loop("seqgan", *sets)
    other.restore(saved)
    while other.step < 6:
        other.advance()
    assert other.trainer.networks.keys() == {"generator", "discriminator", "roll_out"}
    for name, network in whole.trainer.networks.items():
        for key, value in network.state_dict().items():
            assert torch.equal(value, other.trainer.networks[name].state_dict()[key]), (name, key)


@pytest.mark.parametrize("model", ["scratchgan", "seqgan"])
@pytest.mark.parametrize("length", [1, 4])
def test_every_network_is_exported_however_short_texts_are(tmp_path, model, length):
    sets = ["data.vocabulary=2", f"data.length={length}", "data.size=8", "data.held_out=2", "batch_size=4"]
    sets += [each for each in small(model) if not each.startswith("data.")]
    sets += ["model.mle_steps=1", "model.warmup_steps=1"] if model == "seqgan" else []  # it has a discriminator then
    run = ganzoo.train(model, data="oracle", steps=1, sets=sets, out=tmp_path, quiet=True)
    written = ganzoo.export(run, tmp_path / "all", format="onnx", every_network=True)
    assert [path.stem for path in written] == ["generator", "discriminator"]
    assert Generator(next(iter(written))).sample(7).shape == (7, length, 2)


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    sets = [
        *(each for each in small("text_mle") if not each.startswith("data.")),
        "model.hidden_dim=24",
        "batch_size=32",
        "ema=0.5",
    ]
    folder = tmp_path_factory.mktemp("text")
    return ganzoo.train("text_mle", data=letters(), steps=150, sets=sets, out=folder, quiet=True)


@pytest.fixture(scope="module")
def file(run, tmp_path_factory):
    path = tmp_path_factory.mktemp("files") / "letters.onnx"
    ganzoo.export(run, path)
    return path


def test_the_alphabet_is_learned(run):
    found = ganzoo.load(run).signature.output.stored(ganzoo.load(run).sample(100, seed=1))["text"].tolist()
    right = [word in "abcdefghijk" for word in found]
    assert sum(right) > 80
    assert len({*found}) > 15


def test_a_file_writes_the_same_text_at_every_batch_size_and_temperature(run, file):
    torch_model, exported = ganzoo.load(run), Generator(file)
    assert exported.signature["output"]["tokens"] == list(LETTERS.tokens)
    for n, heat in ((1, 1.0), (3, 0.5), (64, 1.0), (64, 2.0), (5, 0.0)):
        asked = {"seed": n, "attributes": {"temperature": heat}}
        wanted, found = torch_model.sample(n, **asked), exported.sample(n, **asked)
        assert np.array_equal(wanted, found)
    assert len({*map(tuple, exported.sample(20, attributes={"temperature": 0.0}).argmax(2).tolist())}) == 1


def test_interpolate_prints_sentences_from_a_run_and_a_file_alike(run, file, cli):
    said = [cli("interpolate", model, "--keys", "0,3", "--steps", "4") for model in (run, file)]
    assert [outcome.code for outcome in said] == [0, 0]
    lines = said[0].out.splitlines()
    assert said[1].out.splitlines() == lines
    assert len(lines) == 5
    texts = LETTERS.scaled((-1, 1)).stored(ganzoo.load(run).sample(4))["text"]
    assert (lines[0], lines[-1]) == (texts[0], texts[3])
    refused = cli("interpolate", run, "--out", "a.gif")
    assert refused.code == 2
    assert "leave --out out" in refused.err


def test_the_likelihood_of_what_was_held_out_is_that_of_a_loop_over_tokens(run):
    held_out = torch.tensor([[1, 2, 0, 0, 0], [3, 4, 5, 6, 7], [0, 0, 0, 0, 0]])
    data = Sentences("letters", LETTERS, letters().tensors["x"], held_out)
    trained = ganzoo.load(run)
    network = trained.sampler.network
    total = count = 0
    for row in held_out.tolist():
        for at, token in enumerate(row):
            logits = network.logits(torch.tensor([row]))[0, at].double()
            total -= float(logits.log_softmax(0)[token].detach())
            count += 1
            if token == 0:
                break
    metric = NLLTest(MetricConfig(), data)
    assert metric.probe(trained.sampler, 0)["nats"] == pytest.approx(total / count, rel=1e-5)
    assert metric(torch.zeros(1), {}) == {"sentences": 3.0}
    assert count == 3 + 5 + 1
    assert math.isfinite(total)


def test_eval_shows_the_likelihood_of_a_run(run):
    found = ganzoo.evaluate(run, metrics=["nll_test"], data=letters(), n=20, quiet=True)
    assert found.figures.keys() == {"nll_test/nats", "nll_test/sentences"}
    assert 0 < found.figures["nll_test/nats"] < math.log(12)
    assert found.better == {"nll_test/nats": "lower", "nll_test/sentences": None}


@pytest.mark.parametrize("precision", ["fp16", "int8"])
def test_texts_are_exported_as_a_seed_writes_them(run, precision, cli, tmp_path):
    out = tmp_path / "a.onnx"
    cli("export", run, "--onnx", "--precision", precision, "--out", out).refused("texts are exported in fp32")
    assert not out.exists()


def test_a_file_has_no_likelihood_and_points_are_refused(file):
    metric = NLLTest(MetricConfig(), letters())
    assert metric.probe(ganzoo.load(file).sampler, 0) == {}
    with pytest.raises(ganzoo.UserError, match="draws no tokens"):
        metric.check(ganzoo.Signature((ganzoo.Latent((2,)),), ganzoo.Points(2)))
