"""Raises when it is asked for its specs, after the first one."""

from ganzoo import Spec, hookimpl


@hookimpl
def ganzoo_specs():
    yield Spec("model", "specs_raise", "Never seen.", "nowhere:Model")
    raise KeyError("gone")
