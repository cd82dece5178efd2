"""Config layers (defaults, presets, files, flags) and how they are resolved into one config."""
