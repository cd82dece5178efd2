"""Was written for a ganzoo to come."""

from ganzoo import Spec, hookimpl

HOOK_API = 99


@hookimpl
def ganzoo_specs():
    return [Spec("model", "newer", "Never seen.", "nowhere:Model")]
