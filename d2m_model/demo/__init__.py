"""Recipes of the demo's own weights: the codec and the priors, trained on rendered songs instead of a million recorded ones."""
