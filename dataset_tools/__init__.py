"""Rebuild dance-music corpora from compilations of dance videos: a folder for each stage, `lib` for what no stage owns."""
