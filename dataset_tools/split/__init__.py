"""The stage split: assigns clips to training and test, with no song in both."""
