"""The format of shards, and code that writes, validates and reads them."""
