"""Raises what Ctrl-C raises, without anybody having pressed it."""

raise KeyboardInterrupt
