"""Registers the conditional GANs."""

from collections.abc import Iterable

from ganzoo import Spec, hookimpl

_WGAN_GP = "Improved Training of Wasserstein GANs, arXiv:1704.00028"


@hookimpl
def ganzoo_specs() -> Iterable[Spec]:
    """Return the specs of the conditional GANs."""
    here = "ganzoo_plugins.conditional"
    return [
        Spec(
            "model",
            "cgan",
            "Conditional GAN: the condition joined to both players' inputs",
            f"{here}.cgan:ConditionalGAN",
            "Conditional Generative Adversarial Nets, arXiv:1411.1784",
        ),
        Spec(
            "model",
            "cwgan_gp_fc",
            "Fully connected conditional WGAN-GP for images and points",
            f"{here}.cwgan_gp_fc:FullyConnectedConditionalWGAN",
            _WGAN_GP,
        ),
        Spec(
            "model",
            "cwgan_gp_conv",
            "Convolutional conditional WGAN-GP",
            f"{here}.cwgan_gp_conv:ConvolutionalConditionalWGAN",
            _WGAN_GP,
        ),
        Spec(
            "model",
            "acgan",
            "The discriminator also classifies, and the generator helps it to",
            f"{here}.acgan:AuxiliaryClassifierGAN",
            "Conditional Image Synthesis with Auxiliary Classifier GANs, arXiv:1610.09585",
        ),
        Spec(
            "model",
            "cgan_projection",
            "Projection discriminator, conditional batch norm, spectral norm",
            f"{here}.cgan_projection:ProjectionGAN",
            "cGANs with Projection Discriminator, arXiv:1802.05637",
        ),
        Spec(
            "model",
            "cgan_matching",
            "Real samples with a wrong condition count as fake",
            f"{here}.cgan_matching:MatchingAwareGAN",
            "Generative Adversarial Text to Image Synthesis, arXiv:1605.05396",
        ),
        Spec(
            "model",
            "text2image",
            "Images from captions: mismatched captions count as fake, encoders are trained along",
            f"{here}.text2image:TextToImage",
            "Generative Adversarial Text to Image Synthesis, arXiv:1605.05396",
        ),
        Spec(
            "model",
            "infogan",
            "Categories and continuous codes that are found in the data without labels, to edit by name",
            f"{here}.infogan:InfoGAN",
            "InfoGAN: Interpretable Representation Learning by Information Maximizing Generative Adversarial Nets, "
            "arXiv:1606.03657",
        ),
        Spec(
            "model",
            "sagan",
            "Self-attention, spectral norm in both networks; conditional where the data has labels",
            f"{here}.sagan:SAGAN",
            "Self-Attention Generative Adversarial Networks, arXiv:1805.08318",
        ),
        Spec(
            "model",
            "biggan",
            "BigGAN: shared class embedding, hierarchical latents, self-attention, for images up to 512x512",
            f"{here}.biggan:BigGAN",
            "Large Scale GAN Training for High Fidelity Natural Image Synthesis, arXiv:1809.11096",
        ),
        Spec(
            "importer",
            "biggan-pytorch",
            "BigGAN's weights as BigGAN-PyTorch writes them, a file for each network (.pth)",
            f"{here}.importers:biggan_pytorch",
        ),
        Spec(
            "importer",
            "hf-biggan",
            "BigGAN-deep's weights as pytorch-pretrained-BigGAN has them (pytorch_model.bin)",
            f"{here}.importers:pretrained_biggan",
        ),
    ]
