"""Leaves Python."""

import sys

sys.exit(3)
