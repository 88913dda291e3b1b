"""Fuzzing of every reader of foreign files: `python -m tests.fuzz --help`, or `make fuzz`.

A family is a file here for readers of one kind. Each has `READERS`, {name: function of (folder of the input, folder that it may
write into)}, which reads, raises UserError for what it refuses and `Broken` for a wrong result; and `cases()`, a hypothesis
strategy of `Case`, valid files and files that go wrong somewhere. `seeds/<family>/<case>/` are inputs that once were
faults; every run tries them first.
"""

FAMILIES = {
    "tables": 15, "params": 13, "midi": 12, "arrays": 14, "json_files": 14, "audio_files": 13, "packs": 5, "shards": 5, "released": 4, "videos": 3, "checkpoints": 2,
}  # fmt: skip
"""Family -> its share of the inputs, in per cent; those that take long get fewer."""
