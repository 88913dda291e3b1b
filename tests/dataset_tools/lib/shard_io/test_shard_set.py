"""Reading shards: any window, in any order, from any process, is what was written."""

import multiprocessing
import random
import re
import runpy
import shutil
from pathlib import Path

import numpy as np
import pytest
import torch

from dataset_tools.lib.core.errors import UserError
from dataset_tools.lib.core.layout import PROJECT
from dataset_tools.lib.shard_io.shard_format import write_shard
from dataset_tools.lib.shard_io.shard_set import ShardSet
from tests.dataset_tools.lib.shard_io.test_shard_format import ATTRS
from tests.helpers.builders import build_clip, build_shards


def test_windows_are_cut_where_time_says(tmp_path):
    shard_set, clip = build_shards(tmp_path, clips=2, seconds=4.1), build_clip(1, seconds=4.1)
    for start, frames in ((0, 60), (30, 60), (37, 45), (63, 60), (122, 1)):
        window = shard_set.read("clip_001", start, frames)
        assert np.array_equal(window.pose, clip.pose[start : start + frames])
        assert np.array_equal(window.audio, clip.audio[start * 735 : (start + frames) * 735])
        assert np.array_equal(window.i3d, clip.i3d[min(start // 30, 2)])
    for start, frames in ((-1, 10), (0, 0), (100, 60)):
        with pytest.raises(ValueError, match="not inside"):
            shard_set.read("clip_001", start, frames)


def read_in_process(shard_set, clip_id, queue):
    try:
        queue.put(shard_set.read(clip_id, 30, 30).audio)
    except UserError as err:
        queue.put(str(err))


def read_elsewhere(method, shard_set, clip_id):
    context = multiprocessing.get_context(method)
    queue = context.Queue()
    child = context.Process(target=read_in_process, args=(shard_set, clip_id, queue))
    child.start()
    found = queue.get(timeout=120)
    child.join()
    return found


@pytest.mark.parametrize("method", ["fork", "spawn"])
def test_other_processes_read_the_same(tmp_path, method):
    shard_set = build_shards(tmp_path)
    here = shard_set.read("clip_002", 30, 30).audio  # the parent has the file open
    assert np.array_equal(here, read_elsewhere(method, shard_set, "clip_002"))


def test_a_fork_opens_its_own_file(tmp_path):
    shard_set = build_shards(tmp_path)
    shard_set.read("clip_001", 30, 30)
    (tmp_path / "train-00000.h5").unlink()  # the parent's handle still reads it; one that is opened anew can't
    assert "train-00000.h5" in read_elsewhere("fork", shard_set, "clip_002")
    assert len(shard_set.read("clip_002", 30, 30).audio) == 22050
    assert len(read_elsewhere("fork", shard_set, "clip_001")) == 22050  # what is in memory is


@pytest.mark.parametrize("memory", [1 << 30, 0, 800_000])
def test_any_order_and_any_memory_read_the_same(tmp_path, memory):
    written = build_shards(tmp_path, clips=5, seconds=4)
    shard_set = ShardSet(tmp_path, "train", memory=memory)
    rng = random.Random(0)
    for _ in range(60):
        number, frames = rng.randrange(5), 30 * rng.randint(1, 4)
        start = 30 * rng.randint(0, (120 - frames) // 30)
        window, clip = shard_set.read(f"clip_{number:03d}", start, frames), build_clip(number, seconds=4)
        assert np.array_equal(window.pose, clip.pose[start : start + frames])
        assert np.array_equal(window.audio, clip.audio[start * 735 : (start + frames) * 735])
        window.pose[:] = window.audio[:] = -1  # theirs to change
    with pytest.raises(ValueError, match="read-only"):
        shard_set.view(written.clips[0].clip_id, 0, 30).audio[0] = 1


def test_batches_hold_the_windows_in_order(tmp_path):
    shard_set = build_shards(tmp_path, clips=3, seconds=4)
    places = [("clip_002", 60), ("clip_000", 0), ("clip_002", 30)]
    batch = shard_set.read_batch(places, 60)
    assert batch.pose.shape == (3, 60, 2, 17, 3) and batch.audio.shape == (3, 44100) and batch.i3d.shape == (3, 2048)
    for n, (clip_id, start) in enumerate(places):
        assert all(np.array_equal(b[n], w) for b, w in zip(batch, shard_set.read(clip_id, start, 60), strict=True))
    again = shard_set.read_batch(places[::-1], 60, batch)
    assert again.audio is batch.audio and np.array_equal(again.audio[0], shard_set.read("clip_002", 30, 60).audio)


class EveryWindow(torch.utils.data.Dataset):
    """Windows of 2 s by number, as a training loader reads them."""

    def __init__(self, folder):
        self.shards = ShardSet(folder, "train")
        self.places = [(clip.clip_id, start) for clip in self.shards.clips for start in range(0, clip.frames - 59, 30)]

    def __len__(self):
        return len(self.places)

    def __getitem__(self, index):
        return index, *self.shards.read(*self.places[index], 60)


def test_several_loader_workers_read_at_random(tmp_path):
    build_shards(tmp_path, clips=5, seconds=4)
    data = EveryWindow(tmp_path)
    data[0]  # the parent has a file open
    order = torch.Generator().manual_seed(0)
    loader = torch.utils.data.DataLoader(data, batch_size=4, shuffle=True, num_workers=2, generator=order)
    seen = []
    for indices, pose, audio, *_ in loader:
        for index, p, a in zip(indices.tolist(), pose.numpy(), audio.numpy(), strict=True):
            clip, start = build_clip(int(data.places[index][0][-3:]), seconds=4), data.places[index][1]
            assert np.array_equal(p, clip.pose[start : start + 60])
            assert np.array_equal(a, clip.audio[start * 735 : (start + 60) * 735])
            seen.append(index)
    assert sorted(seen) == list(range(15))


def test_the_loop_that_the_docs_show(tmp_path, monkeypatch, capfd):
    build_shards(tmp_path / "data" / "demo" / "shards", clips=5, seconds=4, people=2)
    monkeypatch.chdir(tmp_path)
    lines, _ = re.findall(r"```python\n(.*?)```", (PROJECT / "docs/shards.md").read_text(encoding="utf-8"), re.DOTALL)
    Path("loop.py").write_text(lines, encoding="utf-8")
    shown = runpy.run_path("loop.py")
    assert (
        capfd.readouterr().out
        == "torch.Size([15, 60, 2, 17, 3]) torch.Size([15, 44100]) torch.Size([15, 2048]) torch.Size([15, 60, 0, 219])\n"
    )
    left = {place: shown["shards"].read(*place, 60) for place in shown["windows"]}
    for found in zip(*shown["batch"], strict=True):
        left.pop(next(place for place, held in left.items() if all(map(np.array_equal, held, found))))
    assert not left


def test_sets_must_be_whole_and_agree(tmp_path):
    build_shards(tmp_path, clips=7, seconds=2)
    (tmp_path / "train-00001.h5").rename(tmp_path / "aside")
    with pytest.raises(UserError, match=r"train-00001\.h5 is missing"):
        ShardSet(tmp_path, "train")
    write_shard(tmp_path / "train-00001.h5", [build_clip(0, seconds=2)], {**ATTRS, "corpus": "demo"})
    with pytest.raises(UserError, match="pose_weights differs"):
        ShardSet(tmp_path, "train")
    shutil.copy(tmp_path / "train-00000.h5", tmp_path / "train-00001.h5")
    with pytest.raises(UserError, match="'clip_000' is in two shards"):
        ShardSet(tmp_path, "train")
