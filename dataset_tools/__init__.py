"""Rebuild dance-music corpora from compilations of dance videos: one module per pipeline stage."""

import sys

from dataset_tools.base.errors import tell_missing

if sys.argv[:1] == ["-m"]:  # Python is looking for the module of `python -m`
    sys.excepthook = tell_missing
