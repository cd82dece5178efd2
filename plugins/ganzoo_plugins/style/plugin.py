"""Registers the style-based GANs."""

from collections.abc import Iterable

from ganzoo import Spec, hookimpl


@hookimpl
def ganzoo_specs() -> Iterable[Spec]:
    """Return the specs of the style-based GANs."""
    return [
        Spec(
            "model",
            "progan",
            "ProGAN: networks that grow from 4x4 images to those of the data, each new level faded in",
            "ganzoo_plugins.style.progan:ProGAN",
            "Progressive Growing of GANs for Improved Quality, Stability, and Variation, arXiv:1710.10196",
        ),
        Spec(
            "model",
            "stylegan2",
            "StyleGAN2: modulated convolutions, R1 and path length, adaptive augmentation, for images from 16x16",
            "ganzoo_plugins.style.stylegan2:StyleGAN2",
            "Analyzing and Improving the Image Quality of StyleGAN, arXiv:1912.04958",
        ),
        Spec(
            "model",
            "stylegan3",
            "StyleGAN3: an alias-free generator, configurations T and R, for square images from 16x16",
            "ganzoo_plugins.style.stylegan3:StyleGAN3",
            "Alias-Free Generative Adversarial Networks, arXiv:2106.12423",
        ),
        Spec(
            "importer",
            "stylegan2-ada",
            "StyleGAN2's weights as NVIDIA's stylegan2-ada-pytorch and stylegan3 write them (.pkl)",
            "ganzoo_plugins.style.importers:nvlabs",
        ),
        Spec(
            "importer",
            "stylegan3",
            "StyleGAN3's weights, configurations T and R, as NVIDIA's stylegan3 writes them (.pkl)",
            "ganzoo_plugins.style.stylegan3_importer:stylegan3",
        ),
        Spec(
            "importer",
            "rosinality",
            "StyleGAN2's weights as rosinality's stylegan2-pytorch writes them (.pt)",
            "ganzoo_plugins.style.importers:rosinality",
        ),
        Spec(
            "importer",
            "pgan",
            "ProGAN's weights as pytorch_GAN_zoo writes them (.pth, .pt)",
            "ganzoo_plugins.style.progan_importer:pgan",
        ),
    ]
