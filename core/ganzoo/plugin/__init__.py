"""Plugins: the hooks and specs that they implement, the registry that loads them, and what keeps them apart."""
