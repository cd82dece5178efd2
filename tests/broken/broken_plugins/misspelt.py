"""Misspells a hook, beside one that is right."""

from ganzoo import Spec, hookimpl


@hookimpl
def ganzoo_specs():
    return [Spec("model", "misspelt", "Never seen.", "nowhere:Model")]


@hookimpl
def ganzoo_spec():
    return []
