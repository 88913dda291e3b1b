"""Foley Music as a system: it learns a score by heart, plays dances of any length, and goes on where it was stopped."""

import dataclasses
import json
import math

import numpy as np
import pytest
import torch

from d2m_model.baselines import __main__ as baselines
from d2m_model.baselines.dance import ClipDance, Corpus
from d2m_model.baselines.foley_music import events
from d2m_model.baselines.foley_music import system as foley_music
from d2m_model.baselines.foley_music.pose import POSE_FPS, resample_pose
from d2m_model.baselines.foley_music.system import (
    Example,
    FoleyData,
    FoleyTask,
    Params,
    compose,
    network_sizes,
    vary_clip,
    window_of,
)
from d2m_model.baselines.score import Note, cut, write_midi
from d2m_model.training.loop import Run, train_loop
from d2m_model.training.schedules import noam
from dataset_tools.lib.core.layout import Layout
from tests.helpers.builders import build_shards

SMALL = Params(width=0.06, depth=0.17, epochs=1, batch=2, threads=1, log_every=5, dropout=0.0, aided=True, beam=2)


def melody(clip: int, seconds: float) -> list[Note]:
    """A note a beat, up in the first clip and down in the second."""
    step = (0.4, 0.5)[clip]
    pitches = [60 + (2, -3)[clip] * i for i in range(math.ceil(seconds / step))]
    return [Note(step * i, step * i + 0.3, p, 66) for i, p in enumerate(pitches) if step * i + 0.3 < seconds]


def dance_of(shards, index: int, **changes) -> ClipDance:
    """A clip's dance; the second one's dancer holds up the hands."""
    corpus = Corpus(layout=Layout(root=shards.folder.parent, corpus="demo"), system="foley_music")
    dance = corpus.dance(shards, shards.clips[index])
    dance.pose[:, 0, [9, 10], 1] -= 150 * index
    return dataclasses.replace(dance, **changes)


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    return build_shards(tmp_path_factory.mktemp("foley") / "shards", clips=2, seconds=3)


@pytest.fixture(scope="module")
def learnt(shards):
    """A network that has seen two clips 120 times."""
    torch.manual_seed(0)
    torch.set_num_threads(1)
    data = FoleyData([Example(resample_pose(dance_of(shards, i).pose), melody(i, 3.0), 3.0) for i in (0, 1)])
    task = FoleyTask(network_sizes(SMALL, 17), data, 120, SMALL, torch.device("cpu"))
    curves = train_loop(task, 120, SMALL, Run(stage="baselines"))
    return foley_music.FoleyModel(task.net.eval(), SMALL.beam), curves


def test_two_clips_are_learnt_by_heart_and_told_apart_by_their_dance(shards, learnt):
    model, curves = learnt
    assert curves.rows[0]["loss"] > 3 and curves.rows[-1]["loss"] < 0.3 and curves.rows[-1]["accuracy"] > 0.97
    for index in (0, 1):
        expected = events.decode(events.encode(melody(index, 3.0)))
        found = compose(model, dance_of(shards, index))
        assert [n.pitch for n in found] == [n.pitch for n in expected]
        assert np.allclose([n.start for n in found], [n.start for n in expected], atol=0.03)
        assert all(not n.drum and n.program == 0 for n in found)


@pytest.mark.parametrize("frames", [1, 2, 20, 179, 180, 181, 200, 368])
def test_a_dance_of_any_length_gets_notes_inside_it(shards, learnt, frames):
    pose = np.resize(dance_of(shards, 0).pose, (frames, 2, 17, 3))
    found = compose(learnt[0], dance_of(shards, 0, pose=pose, frames=frames))
    assert found == sorted(found) and all(0 <= n.start < n.end <= frames / 30 + 1e-9 for n in found)
    assert frames < 20 or found


@pytest.mark.parametrize("seconds", [3.0, 6.0, 6.1, 11.9, 12.0, 14.3])
def test_windows_of_a_long_dance_are_joined_without_a_gap_and_without_a_double(shards, learnt, seconds, monkeypatch):
    shown, last = [], max(0, round(seconds * 22) - 132) / 22

    def window_of_notes(model, pose, frames, length):  # notes that say how far into the dance they are, as pitches
        begin = min(6.0 * len(shown), last)
        shown.append(frames)
        first = math.ceil(begin * 4 - 0.01)
        return [
            Note(i / 4 - begin + 1e-6, i / 4 - begin + 0.5, 30 + i, 66)
            for i in range(first, math.ceil((begin + length) * 4 - 0.01))
        ]

    monkeypatch.setattr(foley_music, "play_window", window_of_notes)
    frames = round(seconds * 30)
    pose = np.resize(dance_of(shards, 0).pose, (frames, 2, 17, 3))
    found = compose(learnt[0], dance_of(shards, 0, pose=pose, frames=frames))
    assert [n.pitch - 30 for n in found] == list(range(math.ceil(seconds * 4 - 0.05)))
    assert np.allclose([n.start for n in found], [(n.pitch - 30) / 4 for n in found], atol=0.03)
    assert len(shown) == max(1, math.ceil(seconds / 6)) and max(n.end for n in found) <= seconds
    assert shown == [min(132, round(seconds * 22))] * len(shown)


def test_a_dance_without_a_dancer_is_music_too(shards, learnt):
    nobody = np.zeros((90, 2, 17, 3), np.float32)
    assert compose(learnt[0], dance_of(shards, 0, pose=nobody)) == compose(learnt[0], dance_of(shards, 0, pose=nobody))


def nine_seconds() -> Example:
    """A note every second, and joints whose x says what second it is."""
    pose = np.random.default_rng(0).normal(size=(198, 17, 3)).astype(np.float32)
    pose[..., 0], pose[..., 2] = np.arange(198)[:, None] / 22, 1
    return Example(pose, [Note(i, i + 0.5, 40 + i, 66) for i in range(9)], 9.0)


def test_a_window_has_the_notes_of_its_own_time():
    example = nine_seconds()
    for first in (0, 30, 66):
        _, frames, tokens = window_of(example, first)
        assert frames == 132 and tokens.tolist() == events.encode(cut(example.notes, first / POSE_FPS, 6.0))
    _, frames, tokens = window_of(Example(example.pose[:44], example.notes, 2.0), 0)
    assert frames == 44 and tokens.tolist() == events.encode(example.notes[:2])


@pytest.mark.parametrize("more", [False, True])
def test_batches_follow_from_their_number(more):
    data = FoleyData([nine_seconds()], more)
    assert data.windows == [0, 0]
    (pose, frames, tokens), again, other = data.batch(0, 3, 4), data.batch(0, 3, 4), data.batch(0, 4, 4)
    assert pose.shape == (4, 132, 17, 3) and (torch.equal(tokens, again[2]) and torch.equal(pose, again[0]))
    assert not torch.equal(pose, other[0]) and tokens[:, 0].tolist() == [events.SOS] * 4
    assert (frames == 132).all() or (more and (frames >= 66).all())


def test_varied_clips_keep_dance_and_music_together():
    example, random, seen = nine_seconds(), torch.Generator().manual_seed(0), []
    for _ in range(20):
        found = vary_clip(example, random)
        speed = 9 / found.seconds
        assert 6 / 7 - 1e-9 <= speed <= 7 / 6 + 1e-9 and len(found.pose) == round(198 / speed)
        for note in found.notes:
            here = abs(found.pose[min(len(found.pose) - 1, round(note.start * 22)), 0, 0])
            assert here == pytest.approx(note.start * speed, abs=0.06)
        assert len({n.pitch - i for i, n in enumerate(found.notes)}) == 1
        seen.append((np.sign(found.pose[50, 0, 0]), found.notes[0].pitch - 40, speed > 1))
    assert (
        {s[0] for s in seen} == {-1, 1}
        and min(s[1] for s in seen) >= -6
        and max(s[1] for s in seen) <= 6
        and len(set(seen)) > 10
    )


def test_the_learning_rate_is_noams():
    rates = [noam(n, 512, 4000, 4000) for n in range(20_000)]
    assert np.argmax(rates) == 3999 and rates[3999] == pytest.approx((512 * 4000) ** -0.5)
    assert rates[1999] == pytest.approx(rates[3999] / 2, rel=1e-3) and rates[15_999] == pytest.approx(rates[3999] / 2)
    assert max(noam(n, 512, 4000, 40) for n in range(200)) == pytest.approx(rates[3999])


def stage(root, **section) -> dict[str, bytes]:
    (root / "params.yaml").write_text(json.dumps({"baselines": {"threads": 1, "foley_music": section}}))
    (root / "manifests/demo").mkdir(parents=True, exist_ok=True)
    assert baselines.main(["--root", str(root), "--corpus", "demo", "--system", "foley_music"]) == 0
    return {f.name: f.read_bytes() for f in (root / "runs/demo/baselines/foley_music").iterdir()}


def test_the_stage_learns_from_scores_and_else_from_what_it_hears(tmp_path, monkeypatch):
    build_shards(tmp_path / "data/demo/shards", clips=2, seconds=3)
    build_shards(tmp_path / "data/demo/shards", clips=1, seconds=3, split="test", first=2)
    small = {"width": 0.03, "depth": 0.1, "epochs": 3, "batch": 2, "threads": 1, "log_every": 1, "beam": 2}
    heard = []
    monkeypatch.setattr(foley_music, "transcribe", lambda audio: heard.append(len(audio)) or melody(0, 3.0))
    first = stage(tmp_path, **small)
    assert heard == [66150, 66150] and json.loads(first["metrics.json"])["trained_on"] == "basic-pitch"
    assert {"model.pt", "metrics.json", "curves.csv", "rows.csv", "about.txt", "clip_002.wav", "clip_002.mid"} == set(
        first
    )

    (tmp_path / "data/demo/sources/truth").mkdir(parents=True)
    for i in range(2):
        write_midi(
            tmp_path / f"data/demo/sources/scores/song_{i:03d}.mid",
            [n._replace(start=n.start + 5, end=n.end + 5) for n in melody(i, 3.0)],
        )
        np.savez(tmp_path / f"data/demo/sources/truth/clip_{i:03d}.npz", song_start=np.float64(5.0))
    second = stage(tmp_path, **small)
    said = json.loads(second["metrics.json"])
    assert len(heard) == 2 and said["trained_on"] == "scores" and said["steps"] == 3
    assert said["notes"] == len(melody(0, 3.0)) + len(melody(1, 3.0))
    assert stage(tmp_path, **small) == second
