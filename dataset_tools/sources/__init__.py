"""The stage sources: the corpus's manifest, checked, and the demo corpus, rendered."""
