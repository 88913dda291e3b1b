"""The stage `report`: a page with scores, plots, pictures and players."""
