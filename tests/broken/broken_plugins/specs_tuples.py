"""Returns tuples."""

from ganzoo import hookimpl


@hookimpl
def ganzoo_specs():
    return [("model", "x", "Never seen.", "nowhere:Model")]
