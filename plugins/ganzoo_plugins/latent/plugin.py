"""The hooks of latent editing."""

from ganzoo import Spec, hookimpl

_COMMANDS = {
    "interpolate": ("Go from sample to sample through the space of latents", "interpolation:interpolate"),
    "grid": ("Draw the same latents for every class", "editing_commands:grid"),
    "mix": ("Mix the styles of samples of a style-based model", "mixing:mix"),
    "edit": ("Change samples along directions, or in their attributes, or add them up", "editing_commands:edit"),
    "directions": ("Fit directions of latents to labels, or find them", "direction_commands:directions"),
}


@hookimpl
def ganzoo_specs() -> list[Spec]:
    """Offer the commands."""
    return [
        Spec("command", key, summary, f"ganzoo_plugins.latent.{target}") for key, (summary, target) in _COMMANDS.items()
    ]
