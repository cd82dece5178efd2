"""Tests of the loss."""

import torch
from example_package.example_key import ExampleKey, ExampleKeyConfig
from ganzoo.testing import check


def test_it_conforms() -> None:
    check("loss:example-name/example_key")


def test_scores_beyond_the_margin_cost_nothing() -> None:
    loss = ExampleKey(ExampleKeyConfig(margin=2))
    assert loss.discriminator(torch.tensor([2.0, 5.0]), torch.tensor([-2.0, -9.0])) == 0
    assert loss.discriminator(torch.tensor([1.5]), torch.tensor([0.0])) == 2.5


def test_the_generator_raises_its_scores() -> None:
    fake = torch.tensor([0.5, 1.5], requires_grad=True)
    ExampleKey(ExampleKeyConfig()).generator(fake, None).backward()
    assert fake.grad is not None
    assert (fake.grad < 0).all()
