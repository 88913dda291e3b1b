"""Rebuild dance-music corpora from compilations of dance videos: one module per pipeline stage."""
