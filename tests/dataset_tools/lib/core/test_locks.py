"""File systems without locks (NFS, Lustre, FUSE): work goes on, one thread at a time."""

import errno
import fcntl
import threading
import time

import h5py
import numpy as np
import pytest

from dataset_tools.lib.core import locks
from dataset_tools.lib.core.locks import file_lock
from dataset_tools.lib.shard_io import shard_check


def without(monkeypatch, number):
    def flock(*_):
        raise OSError(number, "no such thing here")

    monkeypatch.setattr(fcntl, "flock", flock)


def most_at_once(path, threads=4):
    """How many threads were inside at the same time."""
    inside, most = [], []

    def work():
        with file_lock(path):
            inside.append(1)
            most.append(len(inside))
            time.sleep(0.02)
            inside.pop()

    workers = [threading.Thread(target=work) for _ in range(threads)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert len(most) == threads
    return max(most)


@pytest.mark.parametrize("number", [None, errno.ENOLCK, errno.EOPNOTSUPP, errno.ENOSYS])
def test_one_at_a_time_with_and_without_locks(tmp_path, monkeypatch, number):
    if number:
        without(monkeypatch, number)
    assert most_at_once(tmp_path / ".lock") == 1


def test_another_process_waits(tmp_path):
    """What another open file holds, as another process would, is waited for."""
    entered = threading.Event()
    with open(tmp_path / ".lock", "w") as other:
        fcntl.flock(other, fcntl.LOCK_EX)

        def work():
            with file_lock(tmp_path / ".lock"):
                entered.set()

        worker = threading.Thread(target=work)
        worker.start()
        assert not entered.wait(0.1)
    assert entered.wait(5)
    worker.join()


def test_other_troubles_are_not_hidden(tmp_path, monkeypatch):
    without(monkeypatch, errno.EIO)
    with pytest.raises(OSError, match="no such thing"), file_lock(tmp_path / ".lock"):
        pass
    assert errno.EIO not in locks.NO_LOCKS


def test_shards_are_read_without_locks(tmp_path, monkeypatch):
    """HDF5 locks what it opens, and says what flock said."""
    with h5py.File(tmp_path / "a.h5", "w") as shard:
        shard.create_dataset("x", data=np.arange(3))
    opened = h5py.File

    def on_nfs(path, mode, locking=True):
        if locking:
            raise OSError(errno.ENOLCK, "Unable to synchronously open file")
        return opened(path, mode, locking=locking)

    monkeypatch.setattr(h5py, "File", on_nfs)
    with shard_check.open_shard(tmp_path / "a.h5") as shard:
        assert shard["x"][:].tolist() == [0, 1, 2]
    with pytest.raises(FileNotFoundError):
        monkeypatch.setattr(h5py, "File", opened)
        shard_check.open_shard(tmp_path / "none.h5")
