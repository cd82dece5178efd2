"""Images from captions: the losses against their equations, the encoder, the same requests in torch and in files."""

from pathlib import Path

import numpy as np
import pytest
import torch
from conftest import Command
from torch.nn.functional import leaky_relu, softplus

from ganzoo import DataSpec, Image, Label, Loop, Tokens, UserError, load_config, load_registry
from ganzoo.inference.model import TrainedModel
from ganzoo.inference.sampling import TorchSampler
from ganzoo.testing.samples import random_data
from ganzoo_exporters.export import export
from ganzoo_plugins.conditional.cgan_matching import mismatched
from ganzoo_plugins.conditional.text2image import CaptionEncoder
from ganzoo_runtime import Generator as Runtime

WORDS = ("", " a", " red", " blue", " circle", " square")
EXAMPLES = ((1, 2, 4, 0), (1, 3, 5, 0), (3, 4, 0, 0))
CAPTION = Tokens(4, len(WORDS), WORDS, "caption", examples=EXAMPLES)
SMALL = ("model.width=4", "model.latent_dim=3", "model.embedding_dim=5", "batch_size=9", "seed=3", "precision=fp32")


def training(*sets):
    config = load_config(load_registry(), "text2image", sets=(*SMALL, *sets))
    torch.manual_seed(0)
    dataset = random_data(Image(3, 16, 16, range=(0, 255)), CAPTION, size=30)
    return Loop(config.build_trainer(dataset.spec), dataset, config.train)


def test_an_encoder_sums_over_words_and_their_neighbors():
    torch.manual_seed(0)
    encoder = CaptionEncoder(CAPTION, 5).double()
    tokens = torch.tensor([[2, 5, 3, 0], [4, 0, 0, 0], [0, 0, 0, 0]])
    kernel, bias = encoder.neighbors.weight, encoder.neighbors.bias
    for row, found in zip(tokens.tolist(), encoder(tokens), strict=True):
        words = [word for word in row if word]
        vectors = [torch.zeros(5).double(), *(encoder.words.weight[word] for word in words), torch.zeros(5).double()]
        total = torch.zeros(5).double()
        for place in range(1, len(words) + 1):
            near = sum(kernel[:, :, side] @ vectors[place - 1 + side] for side in range(3)) + bias
            total = total + leaky_relu(vectors[place] + near, 0.2)
        code = encoder.joined(total / 2)
        torch.testing.assert_close(found, code / code.square().mean().sqrt())  # as long as a latent


def halfway(code):
    return torch.stack([(code[row] + code[row + 4]) / 2 for row in range(4)])  # of 9; the last one has no partner


@pytest.mark.parametrize("interpolation", [0, 0.25])
def test_the_discriminator_minimizes_the_loss_of_algorithm_1(interpolation):
    trainer = training("model.batch_norm=none", f"model.interpolation={interpolation}").trainer
    batch = trainer.prepare({"x": torch.randint(256, (9, 3, 16, 16)).byte(), "caption": torch.tensor(EXAMPLES * 3)})
    assert batch["caption"].dtype == torch.int64
    torch.manual_seed(7)
    real, fake, (tokens,) = trainer.pair(batch)
    state = torch.get_rng_state()
    partner, differs = mismatched((tokens,))
    assert differs.all()
    critic, generator = trainer.discriminator, trainer.generator
    right, wrong, generated = (
        critic(*each).double() for each in ((real, tokens), (real, tokens[partner]), (fake, tokens))
    )
    drawn, seen = halfway(generator.encode(tokens)), halfway(critic.encode(tokens))
    between = generator.inner(torch.cat([torch.randn(4, 3), drawn], 1))
    torch.set_rng_state(state)
    scores = trainer.scores(real, fake, (tokens,))
    if interpolation:  # a third kind, of half as many
        third = critic.matched(critic.features(between), seen).double()
        pairs = ((right, wrong), (right, generated), (right[:4], third))
        expected = torch.cat([softplus(-real) + softplus(fake) for real, fake in pairs]).mean()
        assert not any(parameter.grad is not None for parameter in generator.parameters())
    else:
        expected = (softplus(-right) + (softplus(wrong) + softplus(generated)) / 2).mean()
    torch.testing.assert_close(trainer.loss.discriminator(*scores).double(), expected)


def test_the_generator_also_draws_halfway_between_two_captions():
    trainer = training("model.batch_norm=none", "model.interpolation=0.25").trainer
    batch = trainer.prepare({"x": torch.randint(256, (9, 3, 16, 16)).byte(), "caption": torch.tensor(EXAMPLES * 3)})
    torch.manual_seed(5)
    losses = trainer.generator_loss(batch)
    torch.manual_seed(5)
    tokens, critic, generator = batch["caption"], trainer.discriminator, trainer.generator
    fake = generator(torch.randn(9, 3), tokens)
    drawn, seen = halfway(generator.encode(tokens)), halfway(critic.encode(tokens))
    between = generator.inner(torch.cat([torch.randn(4, 3), drawn], 1))
    expected = softplus(-critic(fake, tokens)).mean()
    expected = expected + 0.25 * softplus(-critic.matched(critic.features(between), seen)).mean()
    torch.testing.assert_close(losses["loss"], expected)
    assert "interpolated" not in training().trainer.generator_loss(batch)


@pytest.mark.parametrize("body", ["dcgan", "r3gan"])
def test_torch_and_a_file_draw_the_same_of_a_caption_and_refuse_alike(body, tmp_path: Path):
    loop = training(f"model.body={body}")
    loop.advance()
    network = loop.trainer.generator.eval()
    means = {name: mean.tolist() for name, mean in network.means.items()}
    metadata = {"signature": network.signature.to_json(), "latent_mean": means}
    export(network, tmp_path / "m.onnx", metadata, tolerance=1e-5)  # at batches of 1, 3 and 64
    file, torch_ = Runtime(tmp_path / "m.onnx"), TorchSampler(network, metadata)
    for asked in ({"text": "A red CIRCLE!"}, {"text": ["blue", "red square", "a"]}, {}, {"truncation": 0.5}):
        for n in (1, 3, 64):
            np.testing.assert_allclose(file.sample(n, seed=4, **asked), torch_.sample(n, seed=4, **asked), atol=1e-5)
    _, inputs = next(iter(file.stream(4, text=["blue", "red square"])))
    assert inputs["caption"].tolist() == [[3, 0, 0, 0], [2, 5, 0, 0]] * 2
    _, inputs = next(iter(file.stream(4)))
    assert inputs["caption"].tolist() == [list(row) for row in (*EXAMPLES, EXAMPLES[0])]
    for text, message in (
        (
            "a rde dog",
            r"does not know 'rde' \(near: 'red'\) and 'dog'; leave unknown words out; its words are a, blue,",
        ),
        ("!", "from 1 to 4 words"),
        ("a a a a a", "from 1 to 4 words .* has 5"),
        ([], "a caption for all samples, or several"),
        (["red", 3], "a caption for all samples, or several"),
        (3, "a caption for all samples, or several"),
    ):
        for sampler in (file, TrainedModel(torch_, "run"), TrainedModel(file, "file")):
            with pytest.raises((ValueError, UserError), match=message):
                sampler.sample(2, text=text)
            with pytest.raises((ValueError, UserError), match=message):
                sampler.styles(2, text=text)


def test_styles_between_captions_are_drawn():
    network = training().trainer.generator.eval()
    model = TrainedModel(TorchSampler(network, {"signature": network.signature.to_json()}), "run")
    red, blue = (model.styles(1, text=text) for text in ("a red circle", "a blue circle"))
    assert red.shape == (1, 1, 8)
    np.testing.assert_array_equal(red[..., :3], blue[..., :3])  # the same latent
    np.testing.assert_array_equal(model.sample(1, text="a blue circle"), model.sample(1, latents={"w": blue}))
    middle = model.sample(1, latents={"w": (red + blue) / 2})
    assert np.isfinite(middle).all()


def test_data_without_captions_is_refused():
    config = load_config(load_registry(), "text2image", sets=SMALL)
    for fields in ((Label(3),), (Tokens(4, 6, WORDS, "caption"),)):
        with pytest.raises(UserError, match="learns from images with a caption each, and made has none"):
            config.build_trainer(DataSpec("made", (Image(3, 16, 16, range=(0, 255)), *fields), 10))


def test_the_commands(cli: Command, tmp_path: Path):
    tiny = ("model.width=4", "model.latent_dim=3", "model.embedding_dim=4", "data.image_size=16", "data.size=60")
    sets = [part for each in (*tiny, "batch_size=8") for part in ("--set", each)]
    assert cli("train", "--plugin", "text2image", "--steps", 1, "-q", "--out", "runs", *sets).code == 0
    (run,) = (tmp_path / "runs").iterdir()
    text = ("--text", "a small red triangle", "--text", "a large blue ring")
    cli("sample", run, "-n", 4, *text, "--out", "s.jpg").refused("--out")
    assert cli("sample", run, "-n", 4, *text, "--out", "s.tar").code == 0
    assert cli("sample", run, "-n", 4, *text, "--out", "s.npz").code == 0
    assert np.load("s.npz")["caption"].shape == (4, 12)
    cli("sample", run, "--text", "a purple dog").refused("does not know", "'dog'")
    assert cli("interpolate", run, *text, "--steps", 2, "--out", "i.png").code == 0
    assert cli("interpolate", run, *text, "--keys", "1,2", "--steps", 2, "--out", "i.png").code == 0
    cli("interpolate", run, *text, "--keys", "1,2,3", "--out", "i.png").refused("one for each of the 2 captions")
    cli("interpolate", run, *text, "--on", "z", "--out", "i.png").refused("leave --on out")
    assert cli("edit", run, *text, "--on", "z", "--direction", "z.1=2", "-n", 3, "--out", "e.png").code == 0
