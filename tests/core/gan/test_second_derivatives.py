"""Convolutions with a fast second derivative are those of torch, in every derivative."""

from collections.abc import Callable
from contextlib import nullcontext
from typing import Any

import pytest
import torch
from torch import Tensor, nn
from torch.autograd import grad, gradcheck, gradgradcheck
from torch.utils._python_dispatch import TorchDispatchMode

from ganzoo import load_config, load_registry
from ganzoo.data.stream import Stream
from ganzoo.gan.second_derivatives import FastSecondDerivatives

LAYERS: list[tuple[str, Callable[[], nn.Module]]] = [
    ("plain", lambda: nn.Conv2d(2, 3, 3, padding=1)),
    ("without a bias", lambda: nn.Conv2d(2, 3, (3, 1), bias=False)),
    ("strided", lambda: nn.Conv2d(2, 3, 4, stride=2, padding=1)),
    ("groups, dilated", lambda: nn.Conv2d(2, 4, 3, stride=(2, 1), padding=2, dilation=2, groups=2)),
    ("same", lambda: nn.Conv2d(2, 3, 4, padding="same")),
    ("transposed", lambda: nn.ConvTranspose2d(2, 3, 4, stride=2, padding=1)),
    ("transposed, groups", lambda: nn.ConvTranspose2d(2, 4, 3, (2, 3), 1, groups=2, dilation=(1, 2))),
    ("transposed, output padding", lambda: nn.ConvTranspose2d(2, 3, 3, 2, 1, output_padding=(1, 0))),
]
layers = pytest.mark.parametrize("make", [make for _, make in LAYERS], ids=[name for name, _ in LAYERS])


@layers
@pytest.mark.filterwarnings("ignore:Using padding='same' with even kernel:UserWarning")
def test_derivatives_are_torchs(make: Callable[[], nn.Module]) -> None:
    torch.manual_seed(0)
    layer = make().double()
    x = torch.randn(2, 2, 6, 5, dtype=torch.float64, requires_grad=True)
    # torch itself cannot differentiate a transposed convolution with output padding three times.
    order = 2 if getattr(layer, "output_padding", (0, 0)) != (0, 0) else 3
    expected = derivatives(layer, x, order)
    with FastSecondDerivatives():
        found = derivatives(layer, x, order)
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


@pytest.mark.parametrize("kernel", [3, 4])
def test_a_penalty_convolves_with_no_kernel_as_large_as_a_map(kernel: int) -> None:
    """What makes the second derivative fast: the weights' gradient is computed as such."""
    layer = nn.Conv2d(3, 5, kernel, padding=1)
    x = torch.randn(7, 3, 16, 16)
    sizes = []
    for mode in (nullcontext(), FastSecondDerivatives()):
        with mode, Kernels() as kernels:
            (gradient,) = grad(layer(x.requires_grad_()).square().sum(), x, create_graph=True)
            gradient.square().sum().backward()
        sizes.append(max(kernels.sizes))
    assert sizes[0] > 10  # otherwise torch has become as fast, and this module can go
    assert sizes[1] == kernel


@pytest.mark.parametrize("regularizer", ["gradient_penalty", "path_length"])
def test_penalties_in_training_use_them(regularizer: str) -> None:
    sets = ["batch_size=4", "model.width=4", f"regularizer.{regularizer}.weight=1"]
    config = load_config(load_registry(), "wgan_gp_conv", sets=sets)
    dataset = config.build_dataset()
    trainer = config.build_trainer(dataset.spec)
    batch = trainer.prepare(next(Stream(dataset, 4, 0)))
    with Kernels() as kernels:
        for phase in trainer.phases():
            phase.loss(batch)["loss"].backward()
    assert max(kernels.sizes) == 4


class Kernels(TorchDispatchMode):
    """Notes the sizes of the kernels of all convolutions, forward and backward."""

    def __init__(self) -> None:
        super().__init__()
        self.sizes: list[int] = []

    def __torch_dispatch__(self, func: Any, types: Any, args: Any = (), kwargs: Any = None) -> Any:
        if func is torch.ops.aten.convolution.default:
            self.sizes.append(args[1].shape[-1])
        return func(*args, **(kwargs or {}))


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
