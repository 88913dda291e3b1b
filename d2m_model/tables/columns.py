"""Columns and rows of the paper's tables: what is measured, and which of our systems stand for the paper's."""

MEASURES = ("coverage", "hit", "genre", "coherence", "quality")
OPINIONS = ("coherence", "quality")
"""Measures that are mean opinion scores, 1 to 5, from listening tests; the others are in percent."""
STAND_INS = {
    "random_jukebox": ("unconditional_prior", "random training song"),
    "vq_reconstruction": ("VQ reconstruction high",),
}
"""Row of the paper -> our systems or controls that stand for it: the first one that was scored, else the last one."""
BASELINES = ("dance2music", "foley_music", "cmt")
