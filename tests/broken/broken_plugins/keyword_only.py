"""Asks for an argument by keyword only."""

from ganzoo import Spec, hookimpl


@hookimpl
def ganzoo_specs():
    return [Spec("model", "keyword_only", "Never seen.", "nowhere:Model")]


@hookimpl
def ganzoo_log(*, step):
    pass
