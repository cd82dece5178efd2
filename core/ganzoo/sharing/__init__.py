"""Sharing trained models: what ``ganzoo push`` sends, and ``ganzoo pull`` fetches and verifies."""
