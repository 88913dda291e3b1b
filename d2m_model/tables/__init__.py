"""The stage tables: the paper's tables and the overviews, from the scores."""
