"""The stage d2m_gan: the paper's code generator, trained against discriminators, for each level and variant."""
