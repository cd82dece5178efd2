"""Returns a text."""

from ganzoo import hookimpl


@hookimpl
def ganzoo_specs():
    return "specs"
