"""From defaults, presets, files and flags to one resolved config."""
