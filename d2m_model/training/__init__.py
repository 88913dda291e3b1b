"""What all training stages share: the loop, seeds, windows of the shards, curves and checkpoints. Imports no stage."""
