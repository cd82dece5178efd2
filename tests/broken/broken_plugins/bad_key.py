"""Offers a key with a slash, which Spec refuses."""

from ganzoo import Spec, hookimpl


@hookimpl
def ganzoo_specs():
    return [Spec("model", "bad/key", "Never seen.", "nowhere:Model")]
