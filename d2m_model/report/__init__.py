"""The stage `report`: its page, plots and pictures."""
