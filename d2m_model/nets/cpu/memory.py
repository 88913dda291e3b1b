"""Keep the memory that a training step frees for the next step.

glibc returns large freed blocks to the system, which must fill each page with zeros before it hands it out again. A training
step frees and allocates gigabytes in such blocks. Keeping them makes a step of the preset `released` a sixth faster.
"""

import ctypes
import platform

from d2m_model.nets.cpu.switch import is_plain

TRIM_THRESHOLD, MMAP_MAX = -1, -4  # as malloc.h numbers them


def keep_freed_memory() -> bool:
    """Let this process keep and reuse the memory that it frees, until it ends. Returns whether it does: glibc can, unless
    the switch says plain torch.

    The process then holds as much memory as it once needed; no result changes.
    """
    if is_plain() or platform.libc_ver()[0] != "glibc":
        return False
    mallopt = ctypes.CDLL(None).mallopt
    return bool(mallopt(MMAP_MAX, 0) and mallopt(TRIM_THRESHOLD, -1))
