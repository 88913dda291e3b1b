"""The stage tables: the paper's tables and overviews of all systems, from the scores."""
