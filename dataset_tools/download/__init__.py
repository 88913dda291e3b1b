"""The stage download: fetches the videos of a corpus and checks that they are complete."""
