"""Files that have not changed are not read again; any change of a file is noticed."""

import os
import pickle
import time

import pytest

from dataset_tools.lib.core import file_memo
from dataset_tools.lib.core.file_memo import FileMemo, stamps
from dataset_tools.lib.core.work_cache import file_sha256


@pytest.fixture
def reads(monkeypatch):
    """Names of the files that were hashed; a file counts as settled at once."""
    monkeypatch.setattr(file_memo, "SETTLED", 0.0)
    names = []
    monkeypatch.setattr(file_memo, "file_sha256", lambda path: names.append(path.name) or file_sha256(path))
    return names


def written(path, content):
    path.write_bytes(content)
    time.sleep(0.02)  # longer than a tick of the file system's clock
    return path


def learn(tmp_path, *files):
    memo = FileMemo(tmp_path / "memo.json")
    found = memo.hash_all(files, "test")
    assert [memo.sha256(file) for file in files] == found
    memo.save()
    return found


def test_a_file_is_read_once(tmp_path, reads):
    files = [written(tmp_path / name, name.encode()) for name in "abc"]
    first = learn(tmp_path, *files)
    assert sorted(reads) == ["a", "b", "c"] and first == [file_sha256(file) for file in files]
    assert learn(tmp_path, *files) == first and len(reads) == 3


def rewrite(file):
    file.write_bytes(b"other")


def rewrite_and_set_the_time_back(file):
    before = file.stat()
    file.write_bytes(b"other")
    os.utime(file, ns=(before.st_atime_ns, before.st_mtime_ns))


def replace_by_one_of_the_same_time(file):
    before = file.stat()
    other = file.with_name("other")
    other.write_bytes(b"other")
    os.utime(other, ns=(before.st_atime_ns, before.st_mtime_ns))
    os.replace(other, file)


@pytest.mark.parametrize("change", [rewrite, rewrite_and_set_the_time_back, replace_by_one_of_the_same_time])
def test_a_changed_file_of_the_same_size_is_read_again(tmp_path, reads, change):
    file = written(tmp_path / "a", b"first")
    first = learn(tmp_path, file)
    change(file)
    assert learn(tmp_path, file) == [file_sha256(file)] != first and reads == ["a", "a"]


def test_a_file_that_has_just_changed_is_not_remembered(tmp_path, reads, monkeypatch):
    monkeypatch.setattr(file_memo, "SETTLED", 60.0)
    file = written(tmp_path / "a", b"first")
    learn(tmp_path, file), learn(tmp_path, file)
    assert len(reads) == 4


def test_a_file_does_not_settle_while_it_is_read(tmp_path, monkeypatch):
    """It may have changed in the tick of the clock in which it was stamped."""
    monkeypatch.setattr(file_memo, "SETTLED", 0.5)
    memo, file = FileMemo(tmp_path / "memo.json"), tmp_path / "a"
    for name in ("file_sha256", "publish"):
        monkeypatch.setattr(file_memo, name, lambda *paths, **_: time.sleep(0.6) or "0" * 64)
    file.write_bytes(b"first")
    memo.sha256(file)
    assert memo.recall(str(file), (file,)) is None
    file.write_bytes(b"other")
    memo.publish(file, tmp_path / "b")
    assert not memo.is_copy(file, tmp_path / "b")


def test_a_file_that_changes_while_it_is_read_is_not_remembered(tmp_path, reads, monkeypatch):
    file = written(tmp_path / "a", b"first")
    monkeypatch.setattr(file_memo, "file_sha256", lambda path: (file_sha256(path), written(path, b"other"))[0])
    memo = FileMemo(tmp_path / "memo.json")
    memo.hash_all([file], "test")
    memo.save()
    monkeypatch.setattr(file_memo, "file_sha256", file_sha256)
    assert learn(tmp_path, file) == [file_sha256(file)]


@pytest.mark.parametrize("content", [b"", b"[", b"null", b"[1, 2]", b'[99, {"a": [1, []]}]', b'[1, {"a": 7}]', b"\xff"])
def test_a_damaged_memo_is_empty(tmp_path, reads, content):
    (tmp_path / "memo.json").write_bytes(content)
    file = written(tmp_path / "a", b"first")
    assert learn(tmp_path, file) == [file_sha256(file)]
    assert learn(tmp_path, file) == [file_sha256(file)] and reads == ["a"]


def test_only_what_a_run_asks_for_stays(tmp_path, reads):
    files = [written(tmp_path / name, name.encode()) for name in "ab"]
    learn(tmp_path, *files)
    learn(tmp_path, files[0])
    assert (tmp_path / "memo.json").read_text().count("/") == 1 + str(tmp_path).count("/")


def test_a_copy_is_made_once_and_again_if_either_file_changes(tmp_path, reads):
    source, target = written(tmp_path / "a", b"first"), tmp_path / "out" / "a"

    def publish():
        memo = FileMemo(tmp_path / "memo.json")
        memo.publish(source, target)
        time.sleep(0.02)
        memo.save()
        return memo.copied == 1

    assert publish() is True and publish() is False
    for change in (lambda: written(source, b"other"), lambda: written(target, b"wrong"), target.unlink):
        change()
        assert publish() is True and target.read_bytes() == source.read_bytes()
        assert publish() is False


@pytest.mark.parametrize("own", [False, True])
def test_of_a_file_that_has_just_changed_only_own_copies_are_remembered(tmp_path, monkeypatch, own):
    monkeypatch.setattr(file_memo, "SETTLED", 60.0)
    memo = FileMemo(tmp_path / "memo.json")
    source = written(tmp_path / "a", b"first")
    memo.publish(source, tmp_path / "b", own=own)
    memo.publish(source, tmp_path / "b", own=own)
    assert memo.copied == (1 if own else 2)


def test_a_value_is_known_while_a_missing_file_stays_missing(tmp_path, reads):
    files = [written(tmp_path / "a", b"first"), tmp_path / "b"]
    memo = FileMemo(tmp_path / "memo.json")
    memo.keep("x", {"people": 2}, stamps(files))
    memo.save()
    assert FileMemo(tmp_path / "memo.json").recall("x", files) == {"people": 2}
    files[1].touch()
    assert FileMemo(tmp_path / "memo.json").recall("x", files) is None


def test_what_another_process_finds_out_is_learned(tmp_path, reads, monkeypatch):
    """On a cluster, `download` works with a copy of its memo in other processes, which sync each file: nobody does it for them."""
    synced = []
    monkeypatch.setattr(os, "fsync", synced.append)
    source, target = written(tmp_path / "a", b"first"), tmp_path / "b"
    memo = FileMemo(tmp_path / "memo.json")
    other = pickle.loads(pickle.dumps(memo))
    digest = other.sha256(source)
    other.publish(source, target)
    assert len(synced) == 1
    memo.learn(pickle.loads(pickle.dumps(other.take())))
    memo.save()
    memo = FileMemo(tmp_path / "memo.json")
    assert memo.is_copy(source, target) and memo.sha256(source) == digest and reads == ["a"]
    memo.learn(memo.take())
    memo.save()
    assert FileMemo(tmp_path / "memo.json").is_copy(source, target)
    synced.clear()
    memo.publish(source, tmp_path / "c")
    assert not synced and memo.copied == 1
