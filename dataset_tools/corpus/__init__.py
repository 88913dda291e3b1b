"""Work on a whole corpus: annotation sheets, checks, corpus cards, and fetching its videos. Imports no stage."""
