"""Batches that workers put into shared memory are what the shards hold, in order, and a damaged shard is one clear line."""

import time

import numpy as np
import pytest
from builders import build_shards

from dataset_tools.base.shard_loader import load_batches


def windows(shards, count, seed=0):
    rng = np.random.default_rng(seed)
    picked = rng.integers(0, len(shards.clips), count)
    return [(shards.clips[k].clip_id, 30 * int(rng.integers(0, shards.clips[k].frames // 30 - 1))) for k in picked]


@pytest.mark.parametrize(("workers", "prefetch"), [(0, 2), (1, 1), (2, 2), (3, 4)])
def test_batches_are_what_the_shards_hold(tmp_path, workers, prefetch):
    shards = build_shards(tmp_path, clips=4)
    places = windows(shards, 50)
    batches = [places[k : k + 4] for k in range(0, 50, 4)]  # the last one has two windows
    found = []
    for batch in load_batches(shards, iter(batches), 60, largest=4, workers=workers, prefetch=prefetch):
        found.append([values.clone().numpy() for values in batch])
    assert len(found) == len(batches)
    for places, batch in zip(batches, found, strict=True):
        for expected, values in zip(shards.read_batch(places, 60), batch, strict=True):
            np.testing.assert_array_equal(values, expected)


@pytest.mark.parametrize(("workers", "prefetch"), [(0, 1), (1, 1), (2, 1), (2, 2), (3, 4)])
def test_a_batch_stays_until_the_next_is_asked_for(tmp_path, workers, prefetch):
    shards = build_shards(tmp_path, clips=4)
    batches = [[place] for place in windows(shards, 40)]
    for number, batch in enumerate(load_batches(shards, batches, 60, largest=1, workers=workers, prefetch=prefetch)):
        expected = shards.read_batch(batches[number], 60)
        for _ in range(5):  # the workers have time to spoil it
            np.testing.assert_array_equal(batch.audio.numpy(), expected.audio)
            np.testing.assert_array_equal(batch.i3d.numpy(), expected.i3d)
            time.sleep(0.001)


def test_what_is_wrong_with_a_window_is_said(tmp_path):
    shards = build_shards(tmp_path, clips=2)
    with pytest.raises(ValueError, match="frames 900 to 960 are not inside"):
        list(load_batches(shards, [[(shards.clips[0].clip_id, 900)]], 60, largest=1))
