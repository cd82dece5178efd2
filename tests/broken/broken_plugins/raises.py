"""Raises while it is imported, after having named a spec."""

from ganzoo import Spec, hookimpl


@hookimpl
def ganzoo_specs():
    return [Spec("model", "raises", "Never seen.", "nowhere:Model")]


raise RuntimeError("two\n   lines")
