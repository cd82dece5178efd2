"""Registers the trained models that come with ganzoo."""

from collections.abc import Iterable

from ganzoo import Spec, hookimpl

_GENERATORS = {
    "gan_fc-mnist5k": "Handwritten digits, 28x28, by the plain GAN with fully connected networks: some digits only",
    "wgan_gp_conv-mnist5k": "Handwritten digits, 28x28",
    "wgan_fc-mnist5k": "Handwritten digits, 28x28, by WGAN with clipped weights and fully connected networks: rough",
    "wgan_gp_fc-mnist5k": "Handwritten digits, 28x28, by WGAN-GP with fully connected networks",
    "cgan-mnist5k": "Handwritten digits by class, 28x28",
    "acgan-mnist5k": "Handwritten digits by class, 28x28, by an auxiliary classifier",
    "cgan_projection-mnist5k": "Handwritten digits by class, 28x28, by residual networks",
    "r3gan-mnist5k": "Handwritten digits, 28x28, by the relativistic loss with R1 and R2",
    "cwgan_gp_fc-mnist5k": "Handwritten digits by class, 28x28, by fully connected networks",
    "dcgan-mnist5k": "Handwritten digits, 28x28, by DCGAN's networks with R1",
    "cwgan_gp_conv-mnist5k": "Handwritten digits by class, 28x28, by a conditional WGAN-GP",
    "cgan_matching-mnist5k": "Handwritten digits by class, 28x28, by a discriminator that also sees wrong labels",
    "lsgan-mnist5k": "Handwritten digits, 28x28, by DCGAN's networks with the least squares loss and R1",
    "sngan-mnist5k": "Handwritten digits, 28x28, by residual networks with spectral norm and the hinge loss",
    "began-mnist5k": "Handwritten digits, 28x28, by the decoder of an adversarial autoencoder: some digits only",
    "progan-mnist5k": "Handwritten digits, 28x28, by networks that have grown from 7x7",
    "stylegan2-shapes": "Colored shapes, 32x32, by styles of each layer: for mixing, truncation and directions in W",
    "stylegan3-shapes": "Colored shapes, 32x32, by layers without aliasing: some kinds of them",
    "sagan-mnist5k": "Handwritten digits by class, 28x28, by residual networks with self-attention",
    "biggan-mnist5k": "Handwritten digits by class, 28x28, by hierarchical latents and a shared embedding",
    "infogan-mnist5k": "Handwritten digits, 28x28, by ten categories and two codes that were found without labels",
    "acgan-shape_classes": "Colored shapes, 32x32, by kind and hue",
    "acgan-shapes": "Colored shapes, 32x32, by kind, hue, size, place and rotation",
    "cgan_matching-shapes": "Colored shapes, 32x32, by all factors, by a discriminator that also sees wrong ones",
    "text2image-captioned_shapes": "Colored shapes, 32x32, from captions such as 'a small red star upper left'",
    "scratchgan-grammar": "English sentences of a small grammar, by rewards alone",
    "seqgan-oracle": "Sequences of 20 numbers as of a random LSTM, by likelihood and then by rewards",
    "text_mle-grammar": "English sentences of a small grammar, by maximum likelihood",
    "ctgan-iris": "Rows of the iris table: four lengths of a flower and its species",
    "wgan_gp_seq-waves": "Series: mixtures of two sines, 64 steps",
    "rcgan-waves": "Series by class: mixtures of two sines of three kinds, 64 steps, drawn step by step",
    "aae-mnist5k": "Handwritten digits, 28x28, to latents and back, by an adversarial autoencoder",
    "vaegan-mnist5k": "Handwritten digits, 28x28, to latents and back, by a VAE with a discriminator",
    "bigan-mnist5k": "Handwritten digits, 28x28, to latents and roughly back, by a discriminator of pairs",
    "encoder_regression-mnist5k": "Handwritten digits, 28x28, to latents and back, by an encoder for r3gan's generator",
    "aae-shapes": "Colored shapes, 32x32, to latents and back, by an adversarial autoencoder: rough from noise",
    "inpaint-mnist5k": "Fills a hole in a handwritten digit, 28x28",
    "inpaint-shapes": "Fills a hole in a drawing of a colored shape, 32x32",
    "inpaint_z-mnist5k": "Fills a hole in a handwritten digit, 28x28, in several ways",
}

_TRANSLATORS = {
    "cyclegan-shapes": "Filled shapes to outlined ones and, by b_to_a.onnx, back, 32x32, learned without pairs",
    "discogan-shapes": "Filled shapes to outlined ones in colors of its own choice, and back, 32x32, without pairs",
    "dualgan-shapes": "Filled shapes to roughly outlined ones, and back, 32x32, learned without pairs by WGANs",
    "pix2pix-shapes": "Filled shapes to outlined ones, 32x32, learned from pairs",
}


@hookimpl
def ganzoo_specs() -> Iterable[Spec]:
    """Return the specs of the trained models."""
    files = {key: ("generator.onnx", text) for key, text in _GENERATORS.items()}
    files |= {key: ("a_to_b.onnx", text) for key, text in _TRANSLATORS.items()}
    return [Spec("pretrained", key, text, f"ganzoo_zoo:{key}/{name}") for key, (name, text) in files.items()]
