"""Registers the models of text."""

from collections.abc import Iterable

from ganzoo import Spec, hookimpl


@hookimpl
def ganzoo_specs() -> Iterable[Spec]:
    """Return the specs of the models of text."""
    return [
        Spec(
            "model",
            "text_mle",
            "LSTM language model by maximum likelihood, the baseline of text",
            "ganzoo_plugins.text.text_mle:TextMLE",
        ),
        Spec(
            "model",
            "seqgan",
            "SeqGAN: an LSTM rewarded by a convolutional discriminator for what it writes, after maximum likelihood",
            "ganzoo_plugins.text.seqgan:SeqGAN",
            "SeqGAN: Sequence Generative Adversarial Nets with Policy Gradient, arXiv:1609.05473",
        ),
        Spec(
            "model",
            "scratchgan",
            "ScratchGAN: text without maximum likelihood, a reward for each token and large batches",
            "ganzoo_plugins.text.scratchgan:ScratchGAN",
            "Training language GANs from Scratch, arXiv:1905.09922",
        ),
    ]
