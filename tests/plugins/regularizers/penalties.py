"""What tests of penalties share: small critics, and the comparison with finite differences."""

import pytest
import torch
from torch import nn


def made(cls, **settings):
    return cls(cls.Config(**settings))


def quadratic_score(matrix):
    """D(x) = x^T A x / 2, whose gradient, A x for symmetric A, is known."""
    return lambda x: torch.einsum("ni,ij,nj->n", x.flatten(1), matrix, x.flatten(1)) / 2


def symmetric(size):
    matrix = torch.randn(size, size, dtype=torch.float64)
    return matrix + matrix.T


def small_critic(size=4):
    return nn.Sequential(nn.Linear(size, 8), nn.Softplus(), nn.Linear(8, 1)).double()


def assert_gradient(value, parameters, reference=None):
    """Compare autograd's gradient of ``value()`` with finite differences of ``reference()`` at a few elements."""
    reference = reference or value
    gradients = torch.autograd.grad(value(), parameters)
    assert any(gradient.abs().max() > 1e-4 for gradient in gradients)
    for parameter, gradient in zip(parameters, gradients, strict=True):
        flat = parameter.data.view(-1)
        for index in range(min(6, parameter.numel())):
            before = flat[index].item()
            flat[index] = before + 1e-5
            high = reference().item()
            flat[index] = before - 1e-5
            low = reference().item()
            flat[index] = before
            assert gradient.reshape(-1)[index].item() == pytest.approx((high - low) / 2e-5, rel=1e-5, abs=1e-7)
