"""The stage shards: all streams of the clips in HDF5 files, one split each; also export and import."""
