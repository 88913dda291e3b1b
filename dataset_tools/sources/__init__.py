"""The stage sources: checks the manifest of a corpus, imports annotation sheets, and renders the demo corpus."""
