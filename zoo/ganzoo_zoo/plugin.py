"""Registers the trained models that come with ganzoo."""

from collections.abc import Iterable

from ganzoo import Spec, hookimpl


@hookimpl
def ganzoo_specs() -> Iterable[Spec]:
    """Return the specs of the trained models."""
    return [
        Spec(
            "pretrained",
            "wgan_gp_conv-mnist5k",
            "Handwritten digits, 28x28",
            "ganzoo_zoo:wgan_gp_conv-mnist5k/generator.onnx",
        ),
        Spec(
            "pretrained",
            "cgan-mnist5k",
            "Handwritten digits by class, 28x28",
            "ganzoo_zoo:cgan-mnist5k/generator.onnx",
        ),
        Spec(
            "pretrained",
            "acgan-mnist5k",
            "Handwritten digits by class, 28x28, by an auxiliary classifier",
            "ganzoo_zoo:acgan-mnist5k/generator.onnx",
        ),
        Spec(
            "pretrained",
            "cgan_projection-mnist5k",
            "Handwritten digits by class, 28x28, by residual networks",
            "ganzoo_zoo:cgan_projection-mnist5k/generator.onnx",
        ),
        Spec(
            "pretrained",
            "r3gan-mnist5k",
            "Handwritten digits, 28x28, by the relativistic loss with R1 and R2",
            "ganzoo_zoo:r3gan-mnist5k/generator.onnx",
        ),
        Spec(
            "pretrained",
            "cwgan_gp_fc-mnist5k",
            "Handwritten digits by class, 28x28, by fully connected networks",
            "ganzoo_zoo:cwgan_gp_fc-mnist5k/generator.onnx",
        ),
        Spec(
            "pretrained",
            "dcgan-mnist5k",
            "Handwritten digits, 28x28, by DCGAN's networks with R1",
            "ganzoo_zoo:dcgan-mnist5k/generator.onnx",
        ),
        Spec(
            "pretrained",
            "cwgan_gp_conv-mnist5k",
            "Handwritten digits by class, 28x28, by a conditional WGAN-GP",
            "ganzoo_zoo:cwgan_gp_conv-mnist5k/generator.onnx",
        ),
        Spec(
            "pretrained",
            "cgan_matching-mnist5k",
            "Handwritten digits by class, 28x28, by a discriminator that also sees wrong labels",
            "ganzoo_zoo:cgan_matching-mnist5k/generator.onnx",
        ),
        Spec(
            "pretrained",
            "lsgan-mnist5k",
            "Handwritten digits, 28x28, by DCGAN's networks with the least squares loss and R1",
            "ganzoo_zoo:lsgan-mnist5k/generator.onnx",
        ),
    ]
