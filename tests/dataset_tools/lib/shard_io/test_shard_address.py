"""Shards at an address: the same numbers as from a folder, by few requests for ranges."""

import multiprocessing
import pickle

import numpy as np
import pytest

from dataset_tools.lib.core.addresses import as_path, send
from dataset_tools.lib.core.errors import UserError
from dataset_tools.lib.shard_io.shard_index import describe_shard, shard_hashes, write_index
from dataset_tools.lib.shard_io.shard_set import ShardSet
from tests.helpers.builders import build_shards
from tests.helpers.object_store import object_store

PLACE = "s3://corpora/demo/shards"


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    """20 shards of 3 clips of 8 s, 52 MB, with their index."""
    folder = tmp_path_factory.mktemp("shards")
    build_shards(folder, clips=60, seconds=8)
    write_index(folder, {path.name: describe_shard(path) for path in folder.glob("*.h5")})
    return folder


@pytest.fixture(scope="module")
def store(folder, tmp_path_factory):
    with object_store(tmp_path_factory.mktemp("store"), "corpora") as store:
        for path in folder.iterdir():
            send(path, as_path(PLACE) / path.name)
        yield store


def equal(first, second) -> bool:
    return all(np.array_equal(a, b) for a, b in zip(first, second, strict=True))


def test_a_set_opens_by_two_requests_and_a_clip_needs_its_range_only(folder, store):
    near, there = ShardSet(folder, "train"), as_path(PLACE)
    there.fs.invalidate_cache()
    store.forget()
    far = ShardSet(there, "train")
    assert far.clips == near.clips and len(far.infos) == 20
    assert store.requests == {"GET": 2} and store.sent < 100_000  # the list of files, and the index
    store.forget()
    window = far.read("clip_030")
    clip = sum(values.nbytes for values in window)
    assert equal(window, near.read("clip_030"))
    assert store.requests.keys() == {"GET"} and store.requests["GET"] <= 2 + clip / (1 << 19) + 2
    assert clip < store.sent < clip + (3 << 19)
    store.forget()
    far.read("clip_030", 30, 60)
    assert not store.requests  # the clip is kept


def test_all_clips_have_the_same_numbers(folder, store):
    near, far = ShardSet(folder, "train"), ShardSet(as_path(PLACE), "train")
    store.forget()
    assert all(equal(near.read(clip.clip_id), far.read(clip.clip_id)) for clip in near.clips)
    whole = sum(path.stat().st_size for path in folder.glob("*.h5"))
    assert store.sent < 1.05 * whole


def test_without_an_index_each_shard_is_opened(folder, store):
    there = as_path("s3://corpora/demo/old")
    for path in folder.glob("train-0000[01].h5"):
        send(path, there / path.name)
    assert len(ShardSet(there, "train").clips) == 6
    assert shard_hashes(there) == shard_hashes(folder)[:2]


def test_hashes_are_read_from_the_index(folder, store):
    store.forget()
    assert shard_hashes(as_path(PLACE)) == shard_hashes(folder)
    assert store.sent < 100_000


def test_a_lost_connection_is_one_line(tmp_path, monkeypatch):
    """Without an index, the shards themselves are hashed."""
    there = as_path("memory://corpora/lost")
    (tmp_path / "a.h5").write_bytes(b"a shard")
    send(tmp_path / "a.h5", there / "train-00000.h5")

    def fail(*_, **__):
        raise RuntimeError("connection lost")

    for method in ("_open", "isfile"):
        with monkeypatch.context() as lost, pytest.raises(UserError, match="^memory://corpora/lost.*connection lost"):
            lost.setattr(type(there.fs), method, fail)
            shard_hashes(there)


def first_sample(shards: ShardSet, pipe) -> None:
    pipe.send(shards.read("clip_007").audio[:100])


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_other_processes_read_for_themselves(folder, store, method):
    """DataLoader's workers are forked or spawned while the set is open here."""
    far = ShardSet(as_path(PLACE), "train")
    far.read("clip_000")
    assert pickle.loads(pickle.dumps(far)).clips == far.clips
    context = multiprocessing.get_context(method)
    here, there = context.Pipe()
    process = context.Process(target=first_sample, args=(far, there))
    process.start()
    assert here.poll(60)
    assert np.array_equal(here.recv(), ShardSet(folder, "train").read("clip_007").audio[:100])
    process.join(60)
    assert process.exitcode == 0


def test_a_shard_at_an_address_is_as_untrusted_as_a_file(folder, store, tmp_path):
    """One flipped byte of a stream, a shard that is not one, an index that does not fit."""
    there = as_path("s3://corpora/bad/shards")
    data = bytearray((folder / "train-00000.h5").read_bytes())
    needle = ShardSet(folder, "train").read("clip_000").pose[40, 0].tobytes()
    data[data.index(needle)] ^= 1
    (tmp_path / "bad.h5").write_bytes(data)
    send(tmp_path / "bad.h5", there / "train-00000.h5")
    with pytest.raises(UserError, match="s3://corpora/bad/shards/train-00000.h5 clip 'clip_000': damaged data"):
        ShardSet(there, "train").read("clip_000")
    send(folder / "index.json", there / "index.json")
    (tmp_path / "bad.h5").write_bytes(b"not HDF5" * 1000)
    send(tmp_path / "bad.h5", there / "train-00001.h5")
    there.fs.invalidate_cache()
    with pytest.raises(UserError, match="s3://corpora/bad/shards/train-00001.h5: not a readable shard"):
        ShardSet(there, "train")
    with pytest.raises(UserError, match="s3://corpora/none: no shard of the 'train' split"):
        ShardSet(as_path("s3://corpora/none"), "train")
