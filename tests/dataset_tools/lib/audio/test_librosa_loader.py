"""Processes that compile librosa's detectors at the same time: all of them, and every later one, can use them."""

import os
import subprocess
import sys

import numpy as np

from dataset_tools.lib.audio.librosa_loader import load_librosa

USE = """
import numpy as np
from dataset_tools.lib.audio.librosa_loader import load_librosa
clicks = np.zeros(6 * 22050, np.float32)
clicks[::11025] = 1
print(len(load_librosa().beat.beat_track(y=clicks, sr=22050, trim=False)[1]))
"""


def test_processes_that_compile_at_once_all_find_the_beats(tmp_path):
    environment = os.environ | {"NUMBA_CACHE_DIR": str(tmp_path)}  # empty: everything must be compiled
    start = lambda: subprocess.Popen([sys.executable, "-c", USE], env=environment, stdout=subprocess.PIPE, text=True)
    together = [start(), start()]
    found = [process.communicate()[0] for process in together]
    later = start()
    found.append(later.communicate()[0])
    assert [process.returncode for process in (*together, later)] == [0, 0, 0]
    assert len(set(found)) == 1 and int(found[0]) >= 9
    assert any(tmp_path.rglob("*.nbi"))


def test_the_package_is_loaded_once():
    assert load_librosa() is load_librosa() and np.isclose(load_librosa().hz_to_midi(440.0), 69)
