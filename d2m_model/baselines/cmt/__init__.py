"""CMT, the Controllable Music Transformer (Di et al., ACM MM 2021): a score that keeps the rhythm of a video."""
