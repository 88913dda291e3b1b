"""What every training stage shares: seeds, windows of the shards, curves and checkpoints. Imports no stage."""
