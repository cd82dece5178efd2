"""Offers one key twice."""

from ganzoo import Spec, hookimpl


@hookimpl
def ganzoo_specs():
    return [Spec("loss", "same", "Never seen.", "nowhere:Loss"), Spec("loss", "same", "Nor this.", "nowhere:Loss")]
