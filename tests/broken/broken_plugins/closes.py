"""Raises what closes generators."""

raise GeneratorExit
