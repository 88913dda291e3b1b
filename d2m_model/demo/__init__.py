"""Recipes of the demo's own music weights: what the published networks learnt from a million songs, learnt from rendered ones."""
