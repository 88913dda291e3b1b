"""Memory that was freed is used again without the system handing it out anew."""

import os
import platform
import subprocess
import sys

import pytest

FAULTS = """
import resource, sys
from d2m_model.nets.cpu.memory import keep_freed_memory
assert keep_freed_memory() == (sys.argv[1] == "kept")
sizes = [96 << 20, 8 << 20, 48 << 20]  # bytes
blocks = [bytearray(n) for n in sizes]
del blocks
before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
blocks = [bytearray(n) for n in sizes]
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="glibc's allocator")
def test_freed_blocks_are_used_again():
    kept, given_back = (
        int(subprocess.check_output([sys.executable, "-c", FAULTS, how], env=os.environ | {"D2M_PLAIN_TORCH": plain}))
        for how, plain in (("kept", "0"), ("as usual", "1"))
    )
    assert kept < 100 < given_back
