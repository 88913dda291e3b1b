"""Other systems that make music for a dance, the baselines of Table 1: each composes a score, which `sampler` plays."""
