"""Rebuild dance-music corpora from compilations of dance videos: a folder for each stage, and `lib` for the code that they share."""

import sys

from dataset_tools.lib.core.errors import report_missing_package

if sys.argv[:1] == ["-m"]:  # Python is looking for the module of `python -m`
    sys.excepthook = report_missing_package
