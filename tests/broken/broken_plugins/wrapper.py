"""Wraps a hook."""

from ganzoo import Spec, hookimpl


@hookimpl
def ganzoo_specs():
    return [Spec("model", "wrapper", "Never seen.", "nowhere:Model")]


@hookimpl(wrapper=True)
def ganzoo_log(step):
    return (yield)
