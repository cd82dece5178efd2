"""Raises what is no Exception when it is asked for its specs."""

from ganzoo import hookimpl


class Gone(BaseException):
    pass


@hookimpl
def ganzoo_specs():
    raise Gone("for ever")
