"""One at a time: a lock that works on every file system, as far as that one can.

Why not `filelock` 4.2: where a file system has no locks, it goes on for ENOSYS alone and raises for what NFS and Lustre say. What
it goes on with is a marker file, which a process that was killed on another machine leaves there, and others wait for it for ever.
Around it this file would have as many lines.
"""

import errno
import fcntl
import threading
from collections import defaultdict
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

NO_LOCKS = {errno.ENOLCK, errno.ENOTSUP, errno.EOPNOTSUPP, errno.ENOSYS, errno.EINVAL}
"""What flock says on file systems that have none: NFS without its lock service, Lustre mounted without flock, some of FUSE."""

_threads: defaultdict[str, threading.Lock] = defaultdict(threading.Lock)


@contextmanager
def file_lock(path: Path) -> Iterator[None]:
    """Hold a lock on the file `path`, which is made: others that want it, threads and processes, wait.

    Where the file system has no locks, this process's threads still wait for each other; two processes may do the same work
    twice, and both put down whole files. Raises OSError where the file can't be made.
    """
    with _threads[str(Path(path).absolute())], open(path, "w") as handle:
        try:
            fcntl.flock(handle, fcntl.LOCK_EX)
        except OSError as err:
            if err.errno not in NO_LOCKS:
                raise
        yield
