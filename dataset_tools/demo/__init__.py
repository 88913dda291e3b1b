"""The embedded corpus, rendered from a seed: songs, choreography, skeleton, figure, scene, compilation."""
