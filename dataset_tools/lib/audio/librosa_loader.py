"""Load librosa so that several processes may do it at once.

librosa's detectors are compiled by Numba at their first use, and Numba keeps the results in files. Two processes that compile them at
the same time can mix their files: a function of one then calls a function of the other that isn't there, and every later process ends
with a segmentation fault. So the detectors are first used under a lock: one process compiles, the others read.
"""

import getpass
import tempfile
from functools import cache
from pathlib import Path
from types import ModuleType

from dataset_tools.lib.core.locks import file_lock


@cache
def load_librosa() -> ModuleType:
    """The package librosa, with its detectors compiled. Waits while another process of this user compiles them."""
    import librosa
    import numpy as np

    clicks = np.zeros(3 * 22050, np.float32)
    clicks[::11025] = 1
    with file_lock(Path(tempfile.gettempdir()) / f"librosa-{getpass.getuser()}.lock"):
        librosa.onset.onset_detect(y=clicks, sr=22050)
        librosa.beat.beat_track(y=clicks, sr=22050)
    return librosa
