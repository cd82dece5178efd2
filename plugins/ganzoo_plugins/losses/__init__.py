"""Adversarial losses and regularisers."""
