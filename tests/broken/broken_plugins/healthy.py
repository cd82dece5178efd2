"""Works, amid all that."""

from ganzoo import Spec, hookimpl


@hookimpl
def ganzoo_specs():
    return [Spec("model", "healthy", "Works.", "nowhere:Model")]
