"""The stage split: which clips train and which test, with no song in both."""
