"""Plugins: the hooks and specs that they implement, the registry that loads them, and their isolation."""
