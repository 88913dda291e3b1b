"""The demo corpus, rendered from a seed: songs, choreography, dancers, rooms, compilations, and the recipes of its weights."""
