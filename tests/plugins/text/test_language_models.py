"""The recurrent networks of tokens against references written out in float64, and the gradients of their losses."""

import itertools

import pytest
import torch
from scipy.stats import norm
from torch import nn

from ganzoo import DataSpec, Tokens, UserError
from ganzoo_plugins.networks.lstm import (
    LanguageModel,
    LSTMDiscriminator,
    as_rows,
    counted,
    inverse_cdf,
    position_signal,
    uniform,
)
from ganzoo_plugins.text.scratchgan import ScratchGAN, ScratchGANConfig, discounted
from ganzoo_plugins.text.seqgan import ConvolutionalDiscriminator, SeqGAN, SeqGANConfig

PADDED = Tokens(3, 4, ("", "a", "b", "c"))


def model(sample=PADDED, layers=1, **settings):
    torch.manual_seed(3)
    made = LanguageModel(sample.scaled((-1, 1)), embedding_dim=3, hidden_dim=5, layers=layers, **settings)
    for parameter in made.parameters():
        nn.init.normal_(parameter)
    return made


def trainer(cls, config, sample=PADDED):
    torch.manual_seed(4)
    return cls(config, DataSpec("made", (sample,), 10))


def everything(vocabulary=4, length=3):
    return torch.tensor(list(itertools.product(range(vocabulary), repeat=length)))


def test_the_share_of_the_normal_distribution_is_right_to_seven_digits():
    z = torch.linspace(-6, 6, 1001, dtype=torch.float64)
    assert torch.allclose(uniform(z), torch.from_numpy(norm.cdf(z.numpy())), rtol=0, atol=1e-7)


def test_the_inverse_of_cumulative_probabilities_is_that_of_a_loop_and_never_leaves_the_vocabulary():
    logits = torch.randn(50, 6, dtype=torch.float64, generator=torch.Generator().manual_seed(0))
    noise = torch.rand(50, dtype=torch.float64, generator=torch.Generator().manual_seed(1))
    wanted = []
    for row, u in zip(logits.softmax(1).tolist(), noise.tolist(), strict=True):
        total, token = row[0], 0
        while total < u:
            token += 1
            total += row[token]
        wanted.append(token)
    assert inverse_cdf(logits, noise).tolist() == wanted
    assert inverse_cdf(logits, torch.ones(50, dtype=torch.float64)).max() == 5


@pytest.mark.parametrize("layers", [1, 2])
def test_likelihood_and_drawing_are_those_of_torchs_lstm(layers):
    generator = model(Tokens(4, 6), layers)
    tokens = torch.randint(6, (9, 4), generator=torch.Generator().manual_seed(0))
    before = torch.cat([torch.full((9, 1), 6), tokens[:, :-1]], 1)  # by torch's own LSTM
    wanted = generator.head(generator.lstm(generator.embedding(before))[0])
    assert torch.allclose(generator.logits(tokens), wanted, rtol=1e-4, atol=1e-5)
    chances = generator.log_likelihood(tokens).exp()
    # Just inside of a token's share of 0..1 lies the noise that draws it, given that the tokens before are drawn, too.
    logits = generator.logits(tokens).double().softmax(2).cumsum(2)
    ends = logits.gather(2, tokens.unsqueeze(2)).squeeze(2)
    middle = ends - chances.double() / 2
    z = torch.from_numpy(norm.ppf(middle.detach().numpy())).float()
    kept = (chances > 1e-4).all(1)
    assert kept.any()
    drawn = generator(z, torch.ones(9, 1))
    assert torch.equal(drawn[kept], as_rows(tokens, 6)[kept])


def test_what_is_drawn_is_distributed_as_the_likelihood_says():
    generator = model()
    tokens = everything()
    valid = tokens[(tokens[:, 1:] * (tokens[:, :-1] == 0)).sum(1) == 0]  # nothing but padding behind the end
    chances = generator.log_likelihood(valid).sum(1).exp().detach()
    assert float(chances.sum()) == pytest.approx(1, abs=1e-5)
    torch.manual_seed(0)
    z = torch.randn(40_000, 3)
    weights = torch.tensor([16, 4, 1])
    for drawn in (generator.draw(40_000), generator(z, torch.ones(40_000, 1)).argmax(2)):
        counts = torch.bincount((drawn * weights).sum(1), minlength=64) / 40_000
        assert counts.sum() == pytest.approx(float(counts[(valid * weights).sum(1)].sum()))  # the rest never occurs
        assert (counts[(valid * weights).sum(1)] - chances).abs().max() < 0.01


def test_the_temperature_sharpens_and_zero_is_greedy():
    generator = model(Tokens(3, 4))
    z = torch.randn(500, 3, generator=torch.Generator().manual_seed(0))
    plain, cold, greedy = (generator(z, torch.full((500, 1), heat)).argmax(2) for heat in (1.0, 0.3, 0.0))
    assert len(plain.unique(dim=0)) > len(cold.unique(dim=0)) > len(greedy.unique(dim=0)) == 1
    first = generator.logits(greedy[:1])[0]
    assert torch.equal(first.argmax(1), greedy[0])
    assert model(temperature=0.5).signature.inputs[1].examples == ((0.5,),)


def test_roll_outs_keep_what_is_given_and_complete_it_by_the_models_own_probabilities():
    generator = model(Tokens(3, 4))
    tokens = torch.tensor([[1, 2, 3], [0, 3, 1]])
    torch.manual_seed(0)
    completed = list(generator.roll_outs(tokens, 20_000))
    assert [len(each) for each in completed] == [40_000, 40_000]
    for known, each in enumerate(completed, 1):
        assert torch.equal(each[:, :known], tokens[:, :known].repeat(20_000, 1))
        for row in range(2):
            begun = torch.cat([tokens[row, :known].expand(4, -1), torch.arange(4)[:, None]], 1)
            rest = torch.zeros(4, 3 - known - 1, dtype=torch.int64)
            wanted = generator.log_likelihood(torch.cat([begun, rest], 1))[:, known].exp().detach()
            found = torch.bincount(each[row::2, known], minlength=4) / 20_000
            assert (found - wanted).abs().max() < 0.015


def test_nothing_counts_behind_the_end():
    tokens = torch.tensor([[1, 0, 2, 0], [0, 0, 0, 0], [3, 2, 1, 0], [1, 1, 1, 1]])
    assert counted(tokens).tolist() == [[1, 1, 0, 0], [1, 0, 0, 0], [1, 1, 1, 1], [1, 1, 1, 1]]
    generator = model()
    assert generator.log_likelihood(torch.tensor([[1, 0, 0]]))[0, 2] == 0
    scores = LSTMDiscriminator(PADDED.scaled((-1, 1)), embedding_dim=3, hidden_dim=4, dropout=0.0)
    assert scores(torch.tensor([[1, 0, 0]]))[0, 2] == 0
    assert scores(torch.tensor([[1, 0, 0]]))[0, 1] != 0


def test_discounted_rewards_are_those_of_the_paper():
    rewards = torch.randn(5, 6, dtype=torch.float64)
    wanted = torch.zeros_like(rewards)
    for t in range(6):
        for s in range(t, 6):
            wanted[:, t] += 0.23 ** (s - t) * rewards[:, s]
    assert torch.allclose(discounted(rewards, 0.23), wanted)


def test_the_lstm_discriminator_is_the_papers():
    torch.manual_seed(0)
    network = LSTMDiscriminator(Tokens(4, 6, encoded=True), embedding_dim=3, hidden_dim=5, dropout=0.0).double()
    nn.init.normal_(network.norm.weight)
    nn.init.normal_(network.norm.bias)
    tokens = torch.randint(6, (7, 4))
    weights, places = network.gates.weight, position_signal(4).double()
    h = c = torch.zeros(7, 5, dtype=torch.float64)
    wanted = []
    for t in range(4):
        x = torch.cat([network.embedding[tokens[:, t]], places[t].expand(7, -1)], 1) @ network.input.weight.T
        gates = torch.cat([x + network.input.bias, h], 1) @ weights.T
        centered = gates - gates.mean(1, keepdim=True)
        gates = centered / (centered.square().mean(1, keepdim=True) + 1e-5).sqrt()
        gates = gates * network.norm.weight + network.norm.bias
        i, f, g, o = (gates[:, 5 * k : 5 * k + 5] for k in range(4))
        c = torch.sigmoid(f + 1) * c + torch.sigmoid(i) * torch.tanh(g)
        h = torch.sigmoid(o) * torch.tanh(c)
        wanted.append(h @ network.head.weight[0] + network.head.bias)
    assert torch.allclose(network(tokens), torch.stack(wanted, 1))
    assert torch.allclose(network(as_rows(tokens, 6).double()), torch.stack(wanted, 1))


def test_the_convolutional_discriminator_is_the_papers():
    torch.manual_seed(0)
    config = SeqGANConfig(filters=0.02, discriminator_embedding_dim=3)
    network = ConvolutionalDiscriminator(config, Tokens(4, 6, encoded=True)).double().eval()
    assert [layer.kernel_size for layer in network.filters] == [(1,), (2,), (3,), (4,)]
    assert [layer.out_channels for layer in network.filters] == [2, 4, 4, 4]
    tokens = torch.randint(6, (7, 4))
    vectors, pooled = network.embedding[tokens], []
    for layer in network.filters:
        width = layer.kernel_size[0]
        windows = vectors.unfold(1, width, 1)  # [N, positions, E, width]
        maps = torch.einsum("npew,few->npf", windows, layer.weight) + layer.bias
        pooled.append(maps.clamp(min=0).amax(1))
    features = torch.cat(pooled, 1)
    gate = torch.sigmoid(features @ network.gate.weight.T + network.gate.bias)
    other = (features @ network.transform.weight.T + network.transform.bias).clamp(min=0)
    features = gate * other + (1 - gate) * features
    wanted = features @ network.head.weight[0] + network.head.bias
    assert torch.allclose(network(tokens), wanted)
    assert torch.allclose(network(as_rows(tokens, 6).double()), wanted)


def expectation_gradient(gan, value):
    """Return the exact gradient of the expected value of a sample, which is known for every sample, [64]."""
    chances = gan.generator.log_likelihood(everything()).sum(1).exp()
    return torch.autograd.grad((chances * value).sum(), list(gan.generator.parameters()))


def estimated_gradient(gan, n, runs):
    """Return the mean gradient of the generator's loss over batches of drawn samples."""
    total = None
    for _ in range(runs):
        loss = gan.generator_loss({"x": torch.zeros(n, 3, dtype=torch.int64)})["loss"]
        found = torch.autograd.grad(loss, list(gan.generator.parameters()))
        total = found if total is None else [a + b for a, b in zip(total, found, strict=True)]
    return [each / runs for each in total]


def aligned(found, wanted):
    a, b = (torch.cat([each.flatten() for each in every]) for every in (found, wanted))
    return float(nn.functional.cosine_similarity(a, b, dim=0)), float(a.norm() / b.norm())


def test_reinforce_has_the_gradient_of_the_expected_reward_of_scratchgan():
    """With a discount of 1 a token's return is what it can change, so that the sum over them is the sample's reward."""
    config = ScratchGANConfig(hidden_dim=5, embedding_dim=3, discriminator_dim=6, gamma=1.0, dropout=0.0)
    gan = trainer(ScratchGAN, config, Tokens(3, 4))
    with torch.no_grad():
        gan.discriminator.head.weight.mul_(10)
        value = (2 * gan.discriminator(everything()).sigmoid() - 1).sum(1)
    torch.manual_seed(0)
    found = estimated_gradient(gan, 20_000, 10)
    cosine, ratio = aligned(found, expectation_gradient(gan, value))
    assert cosine < -0.99  # the loss is minimized, the reward maximized
    assert ratio == pytest.approx(1 / 3, rel=0.05)  # the loss is a mean over three positions


def test_roll_outs_have_the_gradient_of_the_expected_reward_of_seqgan():
    config = SeqGANConfig(hidden_dim=5, embedding_dim=3, filters=0.02, roll_outs=1, mle_steps=0, warmup_steps=0)
    gan = trainer(SeqGAN, config, Tokens(3, 4))
    gan.reach(0)
    with torch.no_grad():
        gan.discriminator.head.weight.mul_(10)
        value = gan.discriminator.eval()(everything()).sigmoid()
    gan.discriminator.train()
    torch.manual_seed(0)
    found = estimated_gradient(gan, 20_000, 10)
    cosine, ratio = aligned(found, expectation_gradient(gan, value))
    assert cosine < -0.97
    assert ratio == pytest.approx(1, rel=0.1)


def test_the_completing_copy_follows_and_shares_embeddings():
    gan = trainer(SeqGAN, SeqGANConfig(hidden_dim=5, mle_steps=0, filters=0.02))
    gan.reach(0)
    before = gan.networks["roll_out"].head.weight.clone()
    with torch.no_grad():
        for parameter in gan.generator.parameters():
            parameter.add_(1)
    gan.follow()
    copy = gan.networks["roll_out"]
    assert torch.allclose(copy.head.weight, 0.8 * before + 0.2 * gan.generator.head.weight)
    assert torch.equal(copy.embedding.weight, gan.generator.embedding.weight)


def test_the_baseline_is_a_moving_mean_that_a_checkpoint_keeps():
    gan = trainer(ScratchGAN, ScratchGANConfig(hidden_dim=5, embedding_dim=3, discriminator_dim=6))
    reward = gan.generator_loss({"x": torch.zeros(8, 3, dtype=torch.int64)})["reward"]
    assert gan.state_dict()["baseline"] == pytest.approx(0.92 * float(reward))
    other = trainer(ScratchGAN, ScratchGANConfig(hidden_dim=5, embedding_dim=3, discriminator_dim=6))
    other.load_state_dict(gan.state_dict())
    assert other.baseline == gan.baseline


def test_the_straight_through_gradient_reaches_the_generator_and_its_rows_are_one_hot():
    config = ScratchGANConfig(hidden_dim=5, embedding_dim=3, discriminator_dim=6, gradient="gumbel")
    gan = trainer(ScratchGAN, config)
    rows = gan.generator.relaxed(16, 0.7)
    assert torch.equal(rows.detach().round(), as_rows(rows.argmax(2), 4))
    gan.relaxed_loss({"x": torch.zeros(16, 3, dtype=torch.int64)})["loss"].backward()
    assert all(parameter.grad is not None for parameter in gan.generator.parameters())


def test_a_loss_and_samples_that_are_too_long_are_refused():
    with pytest.raises(UserError, match="leave --loss"):
        ScratchGAN(ScratchGANConfig(), DataSpec("made", (PADDED,), 10), loss=object())
    with pytest.raises(UserError, match="up to 128 tokens, not 129"):
        model(Tokens(129, 4))
