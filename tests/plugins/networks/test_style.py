"""Layers of StyleGAN against independent references in float64."""

import numpy as np
import pytest
import torch
from scipy import signal
from torch.nn.functional import conv2d, leaky_relu
from torch.utils._python_dispatch import TorchDispatchMode

from ganzoo.gan.precision import mixed_precision
from ganzoo_plugins.networks.style import (
    EqualizedConv2d,
    EqualizedLinear,
    Filter,
    MinibatchDeviation,
    ModulatedConv2d,
    activated,
    normalized,
)
from ganzoo_plugins.networks.stylegan2 import StyledLayer

TAPS = np.array([1.0, 3.0, 3.0, 1.0]) / 8


@pytest.fixture(autouse=True)
def double():
    torch.manual_seed(0)
    torch.set_default_dtype(torch.float64)
    yield
    torch.set_default_dtype(torch.float32)


def upfirdn(x, up, down, pad, gain):
    """As the authors' code: zeros between the pixels, pads, filters, takes every ``down``-th pixel."""
    for axis in (2, 3):
        length = x.shape[axis] * up
        # scipy's is the full convolution, without the zeros after the last pixel.
        full = signal.upfirdn(TAPS * gain**0.5, x, up, 1, axis=axis)
        whole = np.zeros([length + 3 if i == axis else size for i, size in enumerate(full.shape)])
        whole[tuple(slice(size) for size in full.shape)] = full
        # A pad of p before the signal shows p more of what comes before the first whole overlap, which is at 3.
        first, last = 3 - pad[0], length + pad[1]
        x = np.take(whole, np.arange(first, last, down), axis=axis)
    return x


@pytest.mark.parametrize("size", [(6, 4), (7, 7)])
def test_filters_are_those_of_the_authors(size):
    x = torch.randn(2, 3, *size)
    np.testing.assert_allclose(Filter("up", gain=4)(x), upfirdn(x.numpy(), 2, 1, (2, 1), 4), atol=1e-12)
    np.testing.assert_allclose(Filter("down")(x), upfirdn(x.numpy(), 1, 2, (1, 1), 1), atol=1e-12)
    np.testing.assert_allclose(Filter(padding=2)(x), upfirdn(x.numpy(), 1, 1, (2, 2), 1), atol=1e-12)


def test_a_constant_keeps_its_value_inside():
    ones = torch.ones(1, 1, 8, 8)
    assert torch.allclose(Filter("up", gain=4)(ones)[..., 1:-1, 1:-1], torch.ones(()))
    assert torch.allclose(Filter("down")(ones)[..., 1:-1, 1:-1], torch.ones(()))


@pytest.mark.parametrize("up", [False, True])
@pytest.mark.parametrize("demodulate", [False, True])
def test_modulated_convolutions_are_one_convolution_for_each_sample(up, demodulate):
    layer = ModulatedConv2d(5, 4, 3, demodulate=demodulate, up=up)
    x, style = torch.randn(3, 5, 6, 4), torch.randn(3, 5)
    expected = []
    for image, scales in zip(x, style, strict=True):
        weight = layer.weight * scales[None, :, None, None]
        if demodulate:
            weight = weight / (weight.square().sum((1, 2, 3), keepdim=True) + 1e-8).sqrt()
        if up:
            # Zeros between the pixels, the kernel upside down as in the authors' code, then the filter: 2H.
            wide = torch.zeros(1, 5, 13, 9)
            wide[:, :, 1:12:2, 1:8:2] = image
            whole = conv2d(wide, weight.flip(2, 3), padding=1)
            expected.append(torch.from_numpy(upfirdn(whole.detach().numpy(), 1, 1, (1, 1), 4)))
        else:
            expected.append(conv2d(image[None], weight, padding=1))
    torch.testing.assert_close(layer(x, style), torch.cat(expected))


def test_equalized_layers_scale_their_weights_and_learn_at_their_rate():
    layer = EqualizedLinear(300, 200, bias=1.0, rate=0.01)
    assert layer.weight.std().item() == pytest.approx(100, rel=0.02)
    x = torch.randn(4, 300)
    expected = x @ (layer.weight * 0.01 / 300**0.5).T + 1.0
    torch.testing.assert_close(layer(x), expected)
    convolution = EqualizedConv2d(5, 3, 3, gain=2.0)
    torch.testing.assert_close(
        convolution(x.view(4, 5, 6, 10)), conv2d(x.view(4, 5, 6, 10), convolution.weight * 2 / 45**0.5, padding=1)
    )


@pytest.mark.parametrize("kernel", [1, 3])
def test_halving_filters_before_it_takes_pixels(kernel):
    layer, x = EqualizedConv2d(2, 3, kernel, resample="down"), torch.randn(2, 2, 8, 6)
    filtered = torch.from_numpy(upfirdn(x.numpy(), 1, 1, (2 if kernel == 3 else 1,) * 2, 1))
    expected = conv2d(filtered, layer.weight * layer.scale, stride=2)
    torch.testing.assert_close(layer(x), expected[:, :, :4, :3])
    assert layer(x).shape == (2, 3, 4, 3)


@pytest.mark.parametrize(("n", "group"), [(8, 4), (6, 4), (3, 4), (4, 1)])
def test_the_minibatch_deviation_is_that_of_each_group(n, group):
    x = torch.randn(n, 3, 2, 2)
    found = MinibatchDeviation(group)(x)
    assert torch.equal(found[:, :3], x)
    size = int(np.gcd(n, group))
    for i in range(n):
        members = x[i % (n // size) :: n // size].numpy()
        assert len(members) == size
        expected = np.sqrt(members.var(0) + 1e-8).mean()
        np.testing.assert_allclose(found[i, 3].detach(), expected, rtol=1e-12)


def test_vectors_are_divided_by_the_root_of_their_mean_square():
    x = torch.randn(3, 7)
    torch.testing.assert_close(normalized(x).square().mean(1), torch.ones(3), rtol=1e-6, atol=0)


def test_the_gain_of_a_leaky_relu_is_that_of_its_layer():
    x, style = torch.randn(2, 5, 6, 4), torch.randn(2, 5)
    layers = (
        EqualizedLinear(4, 3, bias=0.5, rate=0.1),
        EqualizedConv2d(5, 3, 3),
        EqualizedConv2d(5, 3, 3, resample="down"),
        EqualizedConv2d(5, 3, 1, bias=False, resample="down"),
    )
    for layer in layers:
        if layer.bias is not None:
            torch.nn.init.normal_(layer.bias)
        torch.testing.assert_close(activated(layer, x), leaky_relu(layer(x), 0.2) * 2**0.5)
    for layer in (ModulatedConv2d(5, 3, 3, up=True), ModulatedConv2d(5, 3, 1, demodulate=False)):
        torch.testing.assert_close(layer(x, style, 3.0), layer(x, style) * 3)


def test_styled_layers_keep_the_precision_of_their_maps():
    """A bias or noise in float32 would make it that, and each pass behind it twice as long."""
    layer = StyledLayer(5, 4, 3, (6, 6), up=False).float()
    x, w = torch.randn(2, 4, 6, 6, dtype=torch.float32), torch.randn(2, 5, dtype=torch.float32)
    with mixed_precision("bf16", x.device):
        assert layer(x, w).dtype == torch.bfloat16
    torch.nn.init.normal_(layer.bias)
    torch.nn.init.ones_(layer.strength)
    expected = layer.eval().convolution(x, layer.affine(w)) + layer.noise + layer.bias[:, None, None]
    torch.testing.assert_close(layer(x, w), leaky_relu(expected, 0.2) * 2**0.5)


class Convolutions(TorchDispatchMode):
    """Notes the types that the first argument of each convolution and of its gradient has."""

    def __init__(self):
        super().__init__()
        self.types = []

    def __torch_dispatch__(self, func, types, args=(), kwargs=None):
        if "convolution" in func.name():
            self.types.append(args[0].dtype)
        return func(*args, **(kwargs or {}))


@pytest.mark.parametrize("resample", ["up", "down"])
def test_filters_that_resample_are_not_computed_in_bfloat16_on_a_cpu(resample):
    layer, x = Filter(resample).float(), torch.randn(2, 3, 8, 8, dtype=torch.bfloat16, requires_grad=True)
    with Convolutions() as seen:
        with mixed_precision("bf16", x.device):
            y = layer(x)
        y.sum().backward()
    assert y.dtype == torch.bfloat16
    assert seen.types == [torch.float32] * 2
