"""CMT, the Controllable Music Transformer (Di et al., ACM MM 2021): composes a score that follows the rhythm of a video."""
