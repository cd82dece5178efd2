"""The conditional models: every kind of condition, what it is used for, and the losses against their equations."""

import copy

import pytest
import torch
from torch import nn
from torch.nn.functional import softplus

from ganzoo import (
    Attributes,
    DataSpec,
    Image,
    Label,
    Loop,
    Points,
    TensorDataset,
    UserError,
    load_config,
    load_registry,
)
from ganzoo.inference.sampling import draw_inputs
from ganzoo_plugins.conditional.cgan_matching import mismatched
from ganzoo_plugins.networks.condition import Embedding, OneHot
from ganzoo_plugins.networks.conditional_norm import ConditionalBatchNorm2d
from ganzoo_plugins.networks.mlp import GatedLayer
from ganzoo_plugins.networks.projection import ProjectionDiscriminator
from ganzoo_plugins.networks.resnet import residual_features

SMALL = {
    "cgan": ("model.width=4", "model.latent_dim=3"),
    "cgan_matching": ("model.width=4", "model.latent_dim=3"),
    "acgan": ("model.width=4", "model.latent_dim=3"),
    "cgan_projection": ("model.width=8", "model.taper=false", "model.discriminator_width=4", "model.latent_dim=3"),
    "cwgan_gp_conv": ("model.width=2", "model.critic_width=4", "model.latent_dim=3", "model.planes=2"),
    "cwgan_gp_fc": ("model.hidden=[8]", "model.latent_dim=3"),
}
CONDITIONS = {
    "one label": (Label(4),),
    "two labels": (Label(4), Label(3, name="hue")),
    "attributes": (Attributes(5),),
    "label and attributes": (Label(4, name="kind"), Attributes(5)),
}
N = 12
GREY = Image(1, 20, 16, range=(0, 255))
COLOR = Image(3, 16, 24, range=(0, 255))


def made(conditions, sample=GREY):
    """Random data: classes in turn, so that every class is there."""
    rng = torch.Generator().manual_seed(0)
    tensors = {}
    for field in (sample, *conditions):
        match field:
            case Label():
                tensors[field.name] = torch.arange(N) % field.classes
            case Image():
                tensors[field.name] = torch.randint(256, (N, *field.shape), dtype=torch.uint8, generator=rng)
            case _:
                tensors[field.name] = torch.randn(N, *field.shape, generator=rng)
    return TensorDataset(DataSpec("made", (sample, *conditions), N), tensors)


def training(key, conditions, *sets, sample=GREY):
    config = load_config(load_registry(), key, sets=(*SMALL[key], f"batch_size={N}", *sets))
    data = made(conditions, sample)
    torch.manual_seed(0)
    return Loop(config.build_trainer(data.spec), data, config.train)


def next_batch(loop):
    return loop.trainer.prepare(next(loop.stream))


@torch.no_grad()
def stirred(network):
    """A copy in eval mode whose weights are all random: none is zero because training starts there."""
    network = copy.deepcopy(network).eval()
    for parameter in network.parameters():
        parameter.add_(0.3 * torch.randn_like(parameter))
    return network


@pytest.mark.parametrize("sample", [GREY, COLOR], ids=["grey", "color"])
@pytest.mark.parametrize("conditions", CONDITIONS.values(), ids=CONDITIONS.keys())
@pytest.mark.parametrize("key", SMALL)
def test_every_model_learns_from_every_kind_of_condition(key, conditions, sample):
    loop = training(key, conditions, sample=sample)
    loop.advance()
    loop.advance()
    assert not loop.nonfinite()
    generator = stirred(loop.exports()["generator"])
    assert generator.signature.inputs[1:] == conditions
    z, *inputs = draw_inputs(generator.signature, 5, 0)
    inputs = [torch.randn_like(part) if part.is_floating_point() else part for part in inputs]
    images = generator(z, *inputs)
    assert images.shape == (5, *sample.shape)
    discriminator = stirred(loop.trainer.discriminator)
    told = discriminator.signature.inputs[1:]
    assert told == (() if key == "acgan" else conditions)
    scores = discriminator(images, *inputs[: len(told)])
    assert scores.shape == (5,)
    # Each condition by itself decides something.
    for index, field in enumerate(conditions):
        other = (inputs[index] + 1) % field.classes if isinstance(field, Label) else inputs[index] + 1
        changed = [*inputs[:index], other, *inputs[index + 1 :]]
        assert ((generator(z, *changed) - images).flatten(1).abs().amax(1) > 1e-4).all()
        if told:
            assert ((discriminator(images, *changed) - scores).abs() > 1e-5).all()


@pytest.mark.parametrize("key", [key for key in SMALL if key != "cwgan_gp_fc"])
def test_convolutional_models_refuse_what_they_cannot_draw(key):
    with pytest.raises(UserError, match="images"):
        training(key, (Label(3),), sample=Points(2))
    with pytest.raises(UserError, match="10x12"):
        training(key, (Label(3),), sample=Image(1, 10, 12, range=(0, 255)))


def test_cwgan_gp_fc_draws_points():
    loop = training("cwgan_gp_fc", (Label(3), Attributes(2, name="a")), sample=Points(2))
    loop.advance()
    assert not loop.nonfinite()


def test_gates_of_zero_change_nothing_and_others_multiply():
    wanted, plain = (
        training("cwgan_gp_fc", (Attributes(2),), f"model.gated={gated}").trainer.networks
        for gated in ("true", "false")
    )
    gates = [layer for layer in wanted["generator"].modules() if isinstance(layer, GatedLayer)]
    assert len(gates) == 1
    assert plain["discriminator"].state_dict().keys() == wanted["discriminator"].state_dict().keys()
    hidden = torch.randn(5, gates[0].gate.in_features)
    w, b = gates[0].gate.weight, gates[0].gate.bias
    expected = gates[0].layer(hidden) * (1 + hidden @ w.T + b)
    torch.testing.assert_close(gates[0](hidden), expected)
    nn.init.zeros_(w)
    nn.init.zeros_(b)
    torch.testing.assert_close(gates[0](hidden), gates[0].layer(hidden))


@pytest.mark.parametrize("key", SMALL)
def test_packing_is_refused(key):
    with pytest.raises(UserError, match="pack"):
        training(key, (Label(3),), "model.pack=2")


@pytest.mark.parametrize("key", SMALL)
@pytest.mark.parametrize("loss", ["wgan_gp", "relativistic"])
def test_other_losses_and_lazy_penalties_work(key, loss):
    lazy = ("regularizer.gradient_penalty.interval=2",) if loss == "wgan_gp" else ()
    if lazy and key in ("cgan", "cgan_matching", "acgan"):
        with pytest.raises(UserError, match="batch norm"):
            training(key, CONDITIONS["one label"], f"loss.name={loss}")
        lazy += ("model.batch_norm=generator",)
    loop = training(key, CONDITIONS["label and attributes"], f"loss.name={loss}", *lazy)
    loop.advance()
    assert not loop.nonfinite()
    assert any(phase.name == "gradient_penalty" for phase in loop.phases) == bool(lazy)


def test_one_hot_is_torchs_with_the_attributes_behind_it():
    labels, vectors = torch.tensor([2, 0, 1]), torch.randn(3, 2)
    code = OneHot((Label(3), Attributes(2, name="a")))
    assert code.size == 5
    assert torch.equal(code(labels, vectors), torch.cat([nn.functional.one_hot(labels, 3).float(), vectors], 1))


def test_an_embedding_is_a_row_for_a_label_and_a_product_for_attributes():
    code = Embedding((Label(3), Attributes(2, name="a")), 4)
    labels, vectors = torch.tensor([2, 0, 1]), torch.randn(3, 2)
    rows, linear = code.parts
    expected = [
        torch.cat([rows.weight[y], linear.weight @ a + linear.bias]) for y, a in zip(labels, vectors, strict=True)
    ]
    assert code.size == 8
    torch.testing.assert_close(code(labels, vectors), torch.stack(expected))


def test_the_penalty_is_on_the_gradient_of_the_sample_alone():
    trainer = training("cwgan_gp_conv", CONDITIONS["label and attributes"]).trainer
    seen = []

    class Watching(type(trainer.regularizers["gradient_penalty"])):
        def penalty(self, score, real, fake):
            x = real.clone().requires_grad_()
            seen.append(torch.autograd.grad(score(x).sum(), x)[0])
            return super().penalty(score, real, fake)

    for each in trainer.regularizers.values():
        each.__class__ = Watching
    batch = trainer.prepare(made(CONDITIONS["label and attributes"]).batch(torch.arange(4), torch.Generator()))
    trainer.discriminator_loss(batch)["loss"].backward()
    assert seen[0].shape == (4, *GREY.shape)
    assert batch["y"].grad is None


@torch.no_grad()
def test_the_projection_is_an_inner_product_for_each_condition():
    torch.manual_seed(0)
    features = residual_features(Image(1, 16, 16), 4)
    network = stirred(
        ProjectionDiscriminator(features, 4, Image(1, 16, 16), (Label(3), Attributes(2, name="a")))
    ).double()
    x, labels, vectors = torch.rand(5, 1, 16, 16).double(), torch.tensor([0, 1, 2, 1, 0]), torch.randn(5, 2).double()
    label, vector = network.projections
    expected = []
    for image, y, a in zip(x, labels, vectors, strict=True):
        phi = network.features(image[None])[0].sum(dim=(1, 2))
        psi = network.head.weight[0] @ phi + network.head.bias[0]
        expected.append(psi + label.weight[y] @ phi + (vector.weight @ a) @ phi)
    torch.testing.assert_close(network(x, labels, vectors), torch.stack(expected))


@torch.no_grad()
def test_conditional_batch_norm_has_a_weight_and_a_bias_for_each_class():
    norm = ConditionalBatchNorm2d(6, 3)
    x, labels = torch.randn(9, 6, 4, 4), torch.arange(9) % 3
    code = nn.functional.one_hot(labels, 3).float()
    plain = nn.functional.batch_norm(x, None, None, training=True)
    torch.testing.assert_close(norm(x, code), plain, msg="it starts as batch norm without a weight")
    norm.affine.weight.normal_()
    weights, biases = norm.affine.weight.t().chunk(2, 1)
    expected = [plain[i] * (1 + weights[y])[:, None, None] + biases[y][:, None, None] for i, y in enumerate(labels)]
    torch.testing.assert_close(norm(x, code), torch.stack(expected), rtol=1e-4, atol=1e-5)


def test_conditional_batch_norm_alone_tells_the_generator_as_in_the_paper():
    loop = training("cgan_projection", CONDITIONS["label and attributes"], "model.join_latent=false")
    loop.advance()
    generator = stirred(loop.exports()["generator"])
    assert generator.stem[0].in_features == 3
    z, labels, vectors = draw_inputs(generator.signature, 5, 0)
    images = generator(z, labels, vectors)
    for other in (generator(z, (labels + 1) % 4, vectors), generator(z, labels, vectors + 1)):
        assert ((other - images).flatten(1).abs().amax(1) > 1e-4).all()


def test_cgan_projection_divides_by_spectral_norms_unless_told_otherwise():
    for sets, normalized in (((), True), (("model.spectral_norm=false",), False)):
        names = [
            name for name, _ in training("cgan_projection", (Label(3),), *sets).trainer.discriminator.named_parameters()
        ]
        assert any("projections" in name and "parametrizations" in name for name in names) == normalized


@pytest.mark.parametrize("conditions", [*CONDITIONS.values(), (Label(2),), (Label(N),)])
def test_mismatched_pairs_do_not_match(conditions):
    condition = tuple(made(conditions).tensors[field.name] for field in conditions)
    partners = set()
    for seed in range(20):
        torch.manual_seed(seed)
        partner, differs = mismatched(condition)
        assert differs.all()
        assert sorted(partner.tolist()) == list(range(N)), "every condition of the batch is used once"
        for mine, other in enumerate(partner):
            assert any(not torch.equal(part[mine], part[other]) for part in condition)
        partners.add(tuple(partner.tolist()))
    assert len(partners) > 1 or conditions == (Label(2),), "other pairs each time"


def test_mismatched_pairs_are_marked_where_one_condition_has_most_of_the_batch():
    labels = torch.tensor([1, 1, 0, 1, 1, 1])
    partner, differs = mismatched((labels,))
    assert differs.sum() >= 2
    assert torch.equal(differs, labels[partner] != labels)
    assert not mismatched((torch.ones(4, dtype=torch.int64),))[1].any()


def test_the_matching_aware_loss_is_algorithm_1():
    loop = training("cgan_matching", (Label(4),), "loss.name=non_saturating")
    trainer, batch = loop.trainer, next_batch(loop)
    torch.manual_seed(5)
    found = trainer.discriminator_loss(batch)["loss"]
    torch.manual_seed(5)
    real, fake, (labels,) = trainer.pair(batch)
    wrong = labels[mismatched((labels,))[0]]
    assert (wrong != labels).all()
    d = trainer.discriminator
    right, mismatch, generated = d(real, labels), d(real, wrong), d(fake, labels)
    expected = softplus(-right).mean() + (softplus(mismatch).mean() + softplus(generated).mean()) / 2
    torch.testing.assert_close(found, expected)


def test_matching_works_with_a_batch_of_a_single_class():
    loop = training("cgan_matching", (Label(4),), "loss.name=relativistic")
    batch = next_batch(loop)
    batch["y"].fill_(2)
    torch.manual_seed(5)
    found = loop.trainer.discriminator_loss(batch)["loss"]
    torch.manual_seed(5)
    real, fake, (labels,) = loop.trainer.pair(batch)
    right, generated = (loop.trainer.discriminator(part, labels) for part in (real, fake))
    torch.testing.assert_close(found, softplus(generated - right).mean(), msg="as without mismatched pairs")
