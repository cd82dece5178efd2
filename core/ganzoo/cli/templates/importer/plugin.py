"""Says what this distribution offers. It is imported for every command of ganzoo, so it imports nothing heavy."""

from collections.abc import Iterable

from ganzoo import Spec, hookimpl

HOOK_API = 1  # the version of the hooks that this is written for


@hookimpl
def ganzoo_specs() -> Iterable[Spec]:
    """Return what is offered: the kind, the key that users type, a line for 'ganzoo list', and where it is."""
    return [Spec("importer", "example_key", "Generators of one program", "example_package.example_key:example_key")]
