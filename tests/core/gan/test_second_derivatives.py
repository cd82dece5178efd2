"""Convolutions with a fast second derivative are those of torch, in every derivative."""

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn
from torch.autograd import grad, gradcheck, gradgradcheck

from ganzoo.gan.second_derivatives import FastSecondDerivatives

LAYERS: list[tuple[str, Callable[[], nn.Module]]] = [
    ("plain", lambda: nn.Conv2d(2, 3, 3, padding=1)),
    ("without a bias", lambda: nn.Conv2d(2, 3, (3, 1), bias=False)),
    ("strided", lambda: nn.Conv2d(2, 3, 4, stride=2, padding=1)),
    ("groups, dilated", lambda: nn.Conv2d(2, 4, 3, stride=(2, 1), padding=2, dilation=2, groups=2)),
    ("same", lambda: nn.Conv2d(2, 3, 4, padding="same")),
    ("transposed", lambda: nn.ConvTranspose2d(2, 3, 4, stride=2, padding=1)),
    ("transposed, groups", lambda: nn.ConvTranspose2d(2, 4, 3, (2, 3), 1, (1, 0), groups=2, dilation=(1, 2))),
]
layers = pytest.mark.parametrize("make", [make for _, make in LAYERS], ids=[name for name, _ in LAYERS])


@layers
@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel:UserWarning")
def test_derivatives_are_torchs(make: Callable[[], nn.Module]) -> None:
    torch.manual_seed(0)
    layer = make().double()
    x = torch.randn(2, 2, 6, 5, dtype=torch.float64, requires_grad=True)
    expected = derivatives(layer, x, 3)
    with FastSecondDerivatives():
        found = derivatives(layer, x, 3)
    for ours, torchs in zip(found, expected, strict=True):
        torch.testing.assert_close(ours, torchs, rtol=1e-10, atol=1e-10)


@layers
@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel:UserWarning")
def test_derivatives_are_finite_differences(make: Callable[[], nn.Module]) -> None:
    torch.manual_seed(0)
    layer = make().double()
    names = [name for name, _ in layer.named_parameters()]

    def function(x: Tensor, *values: Tensor) -> Tensor:
        with FastSecondDerivatives():
            return torch.func.functional_call(layer, dict(zip(names, values, strict=True)), (x,))

    inputs = (torch.randn(1, 2, 4, 3, dtype=torch.float64, requires_grad=True), *layer.parameters())
    assert gradcheck(function, inputs)
    assert gradgradcheck(function, inputs)


def test_types_and_layouts_stay() -> None:
    layer = nn.Conv2d(4, 8, 3).to(memory_format=torch.channels_last)
    x = torch.randn(2, 4, 8, 8).to(memory_format=torch.channels_last)
    with FastSecondDerivatives():
        y = layer(x)
        with torch.autocast("cpu", dtype=torch.bfloat16):
            narrow = layer(x)
    torch.testing.assert_close(y, layer(x), rtol=0, atol=0)
    assert y.is_contiguous(memory_format=torch.channels_last)
    assert narrow.dtype == torch.bfloat16




def derivatives(layer: nn.Module, x: Tensor, order: int) -> list[Tensor]:
    """Return all derivatives of a function of the layer's output up to an order, for x and the parameters."""
    inputs = [x, *layer.parameters()]
    value = (layer(x) ** 3).sum()
    found: list[Tensor] = []
    for _ in range(order):
        gradients = grad(value, inputs, create_graph=True, materialize_grads=True)
        found += gradients
        value = sum(((gradient**2).sum() for gradient in gradients), torch.zeros(()).double())
    return found
