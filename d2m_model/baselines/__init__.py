"""The stage `baselines`: the other systems of Table 1, one folder each. Most compose a score, which `sampler` plays."""
