"""Forgets to return its specs."""

from ganzoo import hookimpl


@hookimpl
def ganzoo_specs():
    return None
