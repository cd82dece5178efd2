"""Is no Python."""

def ganzoo_specs(:
