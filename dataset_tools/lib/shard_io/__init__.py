"""The shards' format, how they are checked, and how they are read."""
