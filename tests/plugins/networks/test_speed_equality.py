"""The fast ways of training are the textbook's mathematics: the same losses, the same derivatives."""

from collections.abc import Iterator
from dataclasses import replace
from importlib import import_module
from types import SimpleNamespace

import pytest
import torch
from conftest import ROOT
from torch import Tensor, nn
from torch.autograd import gradcheck, gradgradcheck
from torch.nn.functional import layer_norm, leaky_relu

from ganzoo_plugins.networks.layers import AdaptiveAvgPool2d, AvgPool2d, LayerNorm2d, ThinConv2d, same_conv2d


@pytest.fixture(scope="module")
def speed() -> Iterator[SimpleNamespace]:
    """The parts of benchmarks/speed.py."""
    with pytest.MonkeyPatch.context() as patch:
        patch.syspath_prepend(str(ROOT / "benchmarks"))
        cases = import_module("training_speed.cases")
        checking = import_module("training_speed.checking")
        yield SimpleNamespace(make_case=cases.make_case, check=checking.check)


@pytest.fixture(autouse=True)
def one_thread() -> Iterator[None]:
    before = torch.get_num_threads()
    torch.set_num_threads(1)
    yield
    torch.set_num_threads(before)


@pytest.mark.parametrize(
    ("name", "settings", "steps"),
    [
        ("fc", {"batch_size": 32, "n_critic": 2, "data": "digits"}, 20),
        ("fc_default", {"batch_size": 32, "n_critic": 2, "data": "digits"}, 20),
        ("conv", {"batch_size": 8, "n_critic": 2, "data": "digits"}, 5),
        ("dcgan28", {"batch_size": 8, "n_critic": 2}, 4),
        pytest.param("dcgan64", {"batch_size": 4, "sets": ["model.width=16"]}, 5, marks=pytest.mark.slow),
        ("cyclegan", {"batch_size": 2, "sets": ["model.pool=3"]}, 4),
        ("cyclegan", {"batch_size": 2, "sets": ["model.repaint=false", "model.identity_weight=0"]}, 2),
    ],
)
def test_losses_are_the_textbooks(speed, name, settings, steps):
    case = speed.make_case(name, **settings)
    difference = speed.check(case, steps, torch.float64)
    assert len(difference.ours) == steps
    assert difference.small, str(difference)


@pytest.mark.parametrize("name", ["fc", "conv"])
def test_losses_are_the_textbooks_in_single_precision(speed, name):
    # Few steps: later ones show how training amplifies rounding, on either side.
    case = speed.make_case(name, batch_size=8 if name == "conv" else 32, data="digits")
    difference = speed.check(case, 5 if name == "conv" else 15, torch.float32)
    assert difference.small, str(difference)


def test_the_check_notices_other_mathematics(speed):
    case = speed.make_case("fc", batch_size=8, data="digits")
    build = case.config.build_trainer

    class Altered:
        def __getattr__(self, name):
            return getattr(case_config, name)

        def build_trainer(self, spec):
            trainer = build(spec)
            generator = trainer.loss.generator
            trainer.loss.generator = lambda fake, real: 1.001 * generator(fake, real)
            return trainer

    case_config, case = case.config, replace(case, config=Altered())
    assert not speed.check(case, steps=3, dtype=torch.float32).small
    assert not speed.check(case, steps=3, dtype=torch.float64).small


@pytest.mark.parametrize("layout", [torch.contiguous_format, torch.channels_last], ids=str)
@pytest.mark.parametrize("slope", [None, 0.2])
def test_layer_norm_and_its_derivatives(layout, slope):
    torch.manual_seed(0)
    layer = LayerNorm2d(3, 4, 2, slope=slope).double()
    for parameter in layer.parameters():
        nn.init.normal_(parameter)
    x = torch.randn(2, 3, 4, 2, dtype=torch.float64).to(memory_format=layout).requires_grad_()

    def reference(x: Tensor) -> Tensor:
        weight, bias = layer.weight.permute(2, 0, 1), layer.bias.permute(2, 0, 1)
        y = layer_norm(x, x.shape[1:], weight, bias, layer.eps)
        return y if slope is None else leaky_relu(y, slope)

    torch.testing.assert_close(layer(x), reference(x))
    with torch.no_grad():
        torch.testing.assert_close(layer(x), reference(x))
    for ours, theirs in zip(penalized(layer, layer, x), penalized(reference, layer, x), strict=True):
        torch.testing.assert_close(ours, theirs)
    assert gradcheck(layer, (x,))
    assert gradgradcheck(layer, (x,), check_undefined_grad=False)


@pytest.mark.parametrize(("inputs", "outputs", "kernel"), [(1, 4, 5), (4, 1, 3), (1, 1, 5)])
def test_a_thin_convolution_and_its_derivatives(inputs, outputs, kernel):
    torch.manual_seed(0)
    layer = same_conv2d(inputs, outputs, kernel).double()
    assert isinstance(layer, ThinConv2d)
    x = torch.randn(2, inputs, 5, 6, dtype=torch.float64, requires_grad=True)

    def reference(x: Tensor) -> Tensor:
        return nn.Conv2d.forward(layer, x)

    torch.testing.assert_close(layer(x), reference(x))
    for ours, theirs in zip(penalized(layer, layer, x), penalized(reference, layer, x), strict=True):
        torch.testing.assert_close(ours, theirs)
    assert gradcheck(layer, (x,))
    assert gradgradcheck(layer, (x,), check_undefined_grad=False)


@pytest.mark.parametrize(
    ("ours", "reference", "size"),
    [
        (AvgPool2d(), nn.AvgPool2d(2), (4, 6)),
        (AvgPool2d(), nn.AvgPool2d(2), (5, 4)),
        (AdaptiveAvgPool2d((7, 6), (4, 4)), nn.AdaptiveAvgPool2d(4), (7, 6)),
        (AdaptiveAvgPool2d((3, 8), (4, 2)), nn.AdaptiveAvgPool2d((4, 2)), (3, 8)),
    ],
)
def test_pooling_and_its_derivatives(ours, reference, size):
    torch.manual_seed(0)
    ours = ours.double()
    for layout in (torch.contiguous_format, torch.channels_last):
        x = torch.randn(2, 3, *size, dtype=torch.float64).to(memory_format=layout).requires_grad_()
        torch.testing.assert_close(ours(x), reference(x))
        for one, other in zip(penalized(ours, ours, x), penalized(reference, ours, x), strict=True):
            torch.testing.assert_close(one, other)
        assert gradcheck(ours, (x,))
        assert gradgradcheck(ours, (x,))


def test_a_convolution_between_many_channels_is_torchs():
    assert type(same_conv2d(3, 8, 5)) is nn.Conv2d


def penalized(function, layer: nn.Module, x: Tensor) -> tuple[Tensor, ...]:
    """The gradients of a gradient penalty, in the input and in the weights."""
    y = function(x).sin()
    (gradient,) = torch.autograd.grad(y.sum(), x, create_graph=True)
    return torch.autograd.grad(gradient.square().sum() + y.sum(), [x, *layer.parameters()])
