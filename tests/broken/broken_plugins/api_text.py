"""Has a hook API that is no number."""

from ganzoo import Spec, hookimpl

HOOK_API = "1"


@hookimpl
def ganzoo_specs():
    return [Spec("model", "api_text", "Never seen.", "nowhere:Model")]
