"""Training data for the recipes of the demo's weights."""
