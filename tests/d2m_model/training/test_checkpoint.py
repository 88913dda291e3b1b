"""Checkpoints: round trip, equal bytes, refusals, no code on loading; curves; windows by (seed, step)."""

import pickle

import pytest
import torch

from d2m_model.training import checkpoint
from d2m_model.training.curves import Curves, Steps
from d2m_model.training.shard_data import PEAK, WindowData
from dataset_tools.lib.core.errors import UserError
from dataset_tools.lib.shard_io.shard_set import ShardSet
from tests.helpers.builders import build_shards


class Evil:
    def __init__(self, marker):
        self.marker = str(marker)

    def __reduce__(self):
        return (open, (self.marker, "w"))


def test_round_trip_and_equal_bytes_whatever_the_name(tmp_path):
    big = torch.arange(1000.0)
    state = {"net": {"w": big[:3], "t": torch.ones(2, 3).T}, "list": [1, 2.5, "x"]}
    for name in ("a.pt", "another-name.pt"):
        checkpoint.save(tmp_path / name, "vqvae", 1, state, {"width": 8, "steps": [1, 2]})
    assert (tmp_path / "a.pt").read_bytes() == (tmp_path / "another-name.pt").read_bytes()
    assert (tmp_path / "a.pt").stat().st_size < 3000, "a view must not drag its whole storage along"
    back = checkpoint.load(tmp_path / "a.pt", "vqvae", 1)
    assert torch.equal(back.state["net"]["w"], big[:3]) and back.state["net"]["t"].shape == (3, 2)
    assert back.state["list"] == [1, 2.5, "x"] and back.meta == {"width": 8, "steps": [1, 2]}
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.pt", "another-name.pt"]


@pytest.mark.parametrize(
    ("kind", "version", "rule"),
    [("d2m_gan", 1, "kind 'vqvae', expected 'd2m_gan'"), ("vqvae", 2, "version 1, this program reads version 2")],
)
def test_other_kind_or_version_is_refused(tmp_path, kind, version, rule):
    checkpoint.save(tmp_path / "m.pt", "vqvae", 1, {}, {})
    with pytest.raises(UserError, match=rule):
        checkpoint.load(tmp_path / "m.pt", kind, version)


def test_foreign_damaged_and_missing_files_are_one_line(tmp_path):
    torch.save({"weights": torch.ones(2)}, tmp_path / "foreign.pt")
    torch.save([1, 2], tmp_path / "list.pt")
    (tmp_path / "text.pt").write_text("hello")
    (tmp_path / "empty.pt").write_bytes(b"")
    checkpoint.save(tmp_path / "good.pt", "vqvae", 1, {"w": torch.ones(500)}, {})
    whole = (tmp_path / "good.pt").read_bytes()
    (tmp_path / "cut.pt").write_bytes(whole[: len(whole) // 2])
    for name in ("foreign", "list", "text", "empty", "cut", "missing"):
        with pytest.raises(UserError) as caught:
            checkpoint.load(tmp_path / f"{name}.pt", "vqvae", 1)
        assert f"{name}.pt" in str(caught.value) and "\n" not in str(caught.value) and len(str(caught.value)) < 400


@pytest.mark.parametrize("save", [torch.save, lambda thing, path: path.write_bytes(pickle.dumps(thing))])
def test_a_pickle_with_code_is_refused_and_not_run(tmp_path, save):
    marker = tmp_path / "ran"
    save(
        {"format": checkpoint.FORMAT, "kind": "vqvae", "version": 1, "meta": {}, "state": Evil(marker)},
        tmp_path / "evil.pt",
    )
    with pytest.raises(UserError, match="not a readable checkpoint"):
        checkpoint.load(tmp_path / "evil.pt", "vqvae", 1)
    assert not marker.exists()


def test_a_failing_save_leaves_the_old_file(tmp_path):
    checkpoint.save(tmp_path / "m.pt", "vqvae", 1, {"a": 1}, {})
    with pytest.raises((pickle.PicklingError, AttributeError)):
        checkpoint.save(tmp_path / "m.pt", "vqvae", 1, {"a": lambda: 0}, {})
    assert checkpoint.load(tmp_path / "m.pt", "vqvae", 1).state == {"a": 1}
    assert [p.name for p in tmp_path.iterdir()] == ["m.pt"]


def test_curves_are_flat_csv(tmp_path):
    curves = Curves()
    curves.add(5, {"loss": torch.tensor(1.5)})
    curves.add(10, {"loss": 0.123456789, "mel": 2})
    other = Curves()
    other.add(10, {"loss": 3.0})
    other.add(7, {"loss": 4.0})
    curves.merge_columns(other, "low")
    curves.write(tmp_path / "curves.csv")
    assert (
        tmp_path / "curves.csv"
    ).read_text() == "step,loss,loss_low,mel\n5,1.5,nan,nan\n7,nan,4,nan\n10,0.123457,3,2\n"
    assert list(Steps(5, label="x", start=3)) == [3, 4]


def test_windows_are_whole_seconds_and_batches_follow_from_seed_and_step(tmp_path):
    build_shards(tmp_path, clips=3, seconds=3.5)
    data = WindowData(tmp_path, "train", 2)
    assert data.windows == [(c, s) for c in range(3) for s in (0, 30)]
    first = [data.batch(1, step, 2) for step in range(3)]
    seen = {(c.clip_id, s) for b in first for c, s in zip(b.clips, b.starts, strict=True)}
    assert len(seen) == 6, "an epoch uses every window once"
    again = WindowData(tmp_path, "train", 2, memory=0)
    for step in (2, 0, 1):
        for a, b in zip(first[step][:3], again.batch(1, step, 2)[:3], strict=True):
            assert torch.equal(a, b)
    assert any(
        data.batch(2, s, 2).starts != first[s].starts or data.batch(2, s, 2).clips != first[s].clips for s in range(3)
    )
    batch = data.batch(1, 0, 6)
    assert batch.pose.shape == (6, 60, 2, 17, 3) and batch.audio.shape == (6, 44100) and batch.i3d.shape == (6, 2048)
    assert data.clip_audio(0).abs().max().item() == pytest.approx(0.95, abs=1e-6)


def test_a_clip_is_first_read_for_the_first_batch_with_it(tmp_path, monkeypatch):
    build_shards(tmp_path, clips=4, seconds=3)
    read, real = [], ShardSet._clip
    monkeypatch.setattr(ShardSet, "_clip", lambda self, clip_id: read.append(clip_id) or real(self, clip_id))
    data = WindowData(tmp_path, "train", 2, memory=0)
    assert read == [] and len(data) == 8
    batch = data.gather([(2, 0), (2, 30)])
    assert set(read) == {"clip_002"}
    whole = WindowData(tmp_path, "train", 2).gather([(2, 0), (2, 30)])  # all clips in memory
    assert torch.equal(batch.audio, whole.audio) and batch.audio.abs().max().item() == pytest.approx(PEAK, abs=1e-6)


def test_jitter_stays_inside_the_clip_and_keeps_audio_and_motion_together(tmp_path):
    shards = build_shards(tmp_path, clips=2, seconds=3.5)
    data = WindowData(tmp_path, "train", 2)
    starts = set()
    for step in range(20):
        batch = data.batch(0, step, 4, jitter=15)
        for clip, start, pose, audio in zip(batch.clips, batch.starts, batch.pose, batch.audio, strict=True):
            window = shards.read(clip.clip_id, start, 60)
            assert torch.equal(pose, torch.from_numpy(window.pose))
            gain = 0.95 / abs(shards.read(clip.clip_id).audio).max()
            assert torch.allclose(audio, torch.from_numpy(window.audio * gain))
            starts.add(start)
    assert max(starts) <= 45 and len(starts) > 10


def test_no_clip_long_enough_is_one_line(tmp_path):
    build_shards(tmp_path, clips=1, seconds=1.5)
    with pytest.raises(UserError, match="no 'train' clip is as long as a window of 2 s; the longest is 1.50 s"):
        WindowData(tmp_path, "train", 2)
