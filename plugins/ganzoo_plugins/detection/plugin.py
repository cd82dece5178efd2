"""The hooks of detection."""

from ganzoo import Spec, hookimpl


@hookimpl
def ganzoo_specs() -> list[Spec]:
    """Offer the command."""
    summary = "Tell generated images from real ones, and train what tells them"
    return [Spec("command", "detect", summary, "ganzoo_plugins.detection.commands:detect")]
