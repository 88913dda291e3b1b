"""What the recipes of the demo's weights learn from."""
