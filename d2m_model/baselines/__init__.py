"""The stage `baselines`: the other systems of Table 1, a folder each; each composes a score, which `sampler` plays."""
