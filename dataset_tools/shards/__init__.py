"""The stage shards: stores all streams of the clips in HDF5 files of one split each; exports and imports other formats."""
