"""File systems without locks (NFS, Lustre, FUSE): work goes on, one thread at a time."""

import errno
import fcntl
import threading
import time

import h5py
import numpy as np
import pytest

from dataset_tools.base import locks
from dataset_tools.base.locks import only_one


def without(monkeypatch, number):
    def flock(*_):
        raise OSError(number, "no such thing here")

    monkeypatch.setattr(fcntl, "flock", flock)


def most_at_once(path, threads=4):
    """How many threads were inside at the same time."""
    inside, most = [], []

    def work():
        with only_one(path):
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
            with only_one(tmp_path / ".lock"):
                entered.set()

        worker = threading.Thread(target=work)
        worker.start()
        assert not entered.wait(0.1)
    assert entered.wait(5)
    worker.join()


def test_other_troubles_are_not_hidden(tmp_path, monkeypatch):
    without(monkeypatch, errno.EIO)
    with pytest.raises(OSError, match="no such thing"), only_one(tmp_path / ".lock"):
        pass
    assert errno.EIO not in locks.NO_LOCKS


def test_shards_are_read_without_locks(tmp_path, monkeypatch):
    """No reader of shards asks HDF5 to lock: where the file system can't, it would not open."""
    from dataset_tools.base import shard_check, shard_set

    path = tmp_path / "a.h5"
    with h5py.File(path, "w") as shard:
        shard.create_dataset("x", data=np.zeros(3))
    asked = []
    opened = h5py.File

    def recorded(*args, **options):
        asked.append(options.get("locking"))
        return opened(*args, **options)

    monkeypatch.setattr(h5py, "File", recorded)
    with pytest.raises(ValueError, match=r"a\.h5"):
        shard_check.validate_shard(path)
    assert shard_check.h5py is h5py and shard_set.h5py is h5py and asked == [False]
