"""The stage d2m_gan: the paper's generator of codes, trained against discriminators, per level and variant."""
