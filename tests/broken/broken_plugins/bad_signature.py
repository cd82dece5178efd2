"""Asks a hook for arguments that it does not have."""

from ganzoo import Spec, hookimpl


@hookimpl
def ganzoo_specs():
    return [Spec("model", "bad_signature", "Never seen.", "nowhere:Model")]


@hookimpl
def ganzoo_log(run, stepp, metric):
    pass
