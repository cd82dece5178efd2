"""Registers the GANs of series."""

from collections.abc import Iterable

from ganzoo import Spec, hookimpl


@hookimpl
def ganzoo_specs() -> Iterable[Spec]:
    """Return the specs of the GANs of series."""
    return [
        Spec(
            "model",
            "wgan_gp_seq",
            "WGAN-GP with convolutions along time, for series whose length is a multiple of 4",
            "ganzoo_plugins.series.wgan_gp_seq:SeriesWGAN",
            "Improved Training of Wasserstein GANs, arXiv:1704.00028",
        ),
        Spec(
            "model",
            "rcgan",
            "RGAN and RCGAN: recurrent networks that draw and score step by step, for series of any length",
            "ganzoo_plugins.series.rcgan:RCGAN",
            "Real-valued (Medical) Time Series Generation with Recurrent Conditional GANs, arXiv:1706.02633",
        ),
    ]
