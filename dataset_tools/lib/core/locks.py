"""A file lock that works on every file system, as far as the file system allows.

Why not `filelock` 4.2: on a file system without locks it falls back for ENOSYS only and raises for the errors of NFS and Lustre.
Its fallback is a marker file. A process that is killed on another machine leaves it behind, and the others wait for ever. The
code around it would be as long as this file.
"""

import errno
import fcntl
import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

NO_LOCKS = {errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL}
"""Errors of flock on file systems without locks: NFS without its lock service, Lustre mounted without flock, some of FUSE."""

_threads: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)


@contextmanager
def file_lock(path: Path, *, wait: bool = True) -> Iterator[None]:
    """Hold a lock on the file `path`, which is created. Other threads and processes that want the lock wait.

    wait: False raises BlockingIOError where another process holds the lock.

    On a file system without locks only the threads of this process wait for each other. Two processes may then do the same
    work twice, but both write complete files. Raises OSError if the file can't be created.
    """
    with _threads[str(Path(path).absolute())], open(path, "w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError as err:
            if err.errno not in NO_LOCKS:
                raise
        yield
