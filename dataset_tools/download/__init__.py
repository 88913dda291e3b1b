"""The stage download: the videos of a corpus, whole and checked."""
