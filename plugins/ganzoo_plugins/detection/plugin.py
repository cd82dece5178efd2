"""The hooks of detection and provenance."""

from ganzoo import Spec, hookimpl

_COMMANDS = {
    "detect": ("Tell generated images from real ones, by a detector that is trained", "commands:detect"),
    "verify": ("Tell what images and models say of where they come from", "provenance_commands:verify"),
    "sign": ("Sign what an image says of where it comes from, by C2PA", "provenance_commands:sign"),
}


@hookimpl
def ganzoo_specs() -> list[Spec]:
    """Offer the commands."""
    return [
        Spec("command", key, summary, f"ganzoo_plugins.detection.{target}")
        for key, (summary, target) in _COMMANDS.items()
    ]
