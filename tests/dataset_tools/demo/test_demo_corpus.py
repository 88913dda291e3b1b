"""The rendered corpus is what its manifest says, with truth that fits picture and audio, byte for byte each time."""

import dataclasses
from itertools import pairwise
from pathlib import Path

import numpy as np
import pytest

from dataset_tools.clips.normalise import normalise_video
from dataset_tools.demo.manifest import plan_corpus
from dataset_tools.demo.music.general_midi import PROGRAMS, to_notes
from dataset_tools.demo.music.genres import GENRES
from dataset_tools.demo.render import compilation
from dataset_tools.demo.render.compilation import CompilationClip, CompilationVideo, render_compilation
from dataset_tools.lib.core.manifest import load_manifest, save_manifest
from dataset_tools.lib.core.schema import Song
from dataset_tools.lib.midi import read_score
from dataset_tools.lib.video.video_io import read_audio, read_rgb

ROOT = Path(__file__).resolve().parents[3]
SONG = Song(song_id="pop1", genre="pop", tempo=105.0, title="Test Tune")
VIDEO = CompilationVideo(video_id="v", url="media/v.mp4", panel_width=204, panels="stripes")
CLIPS = [
    CompilationClip(clip_id="a", video_id="v", song_id="pop1", start=0.5, end=2.5, dancers=1, song_start=20.123),
    CompilationClip(clip_id="b", video_id="v", song_id="pop1", start=2.5, end=3.5, dancers=2, song_start=31.777),
]


@pytest.fixture(scope="module")
def rendered(tmp_path_factory):
    folder = tmp_path_factory.mktemp("demo")
    assert render_compilation(VIDEO, CLIPS, {"pop1": SONG}, folder, seed=3) == 105
    return folder


def test_plan_is_the_manifest_in_the_repository(tmp_path):
    save_manifest(plan_corpus(), tmp_path)
    for name in ("videos.csv", "clips.csv", "songs.csv"):
        assert (tmp_path / name).read_bytes() == (ROOT / "manifests" / "demo" / name).read_bytes()


@pytest.mark.parametrize("seed", [1, 2])
def test_plan_has_the_promised_size(seed):
    made = plan_corpus(seed)
    assert (len(made.videos), len(made.clips), len(made.songs)) == (4, 48, 20)
    seconds = np.array([c.end - c.start for c in made.clips])
    assert 4 <= seconds.min() and seconds.max() <= 10 and 5.5 < seconds.mean() < 7.5
    genre = {s.song_id: s.genre for s in made.songs}
    songs = {w: {c.song_id for c in made.clips if c.official_split == w} for w in ("train", "test")}
    assert not songs["train"] & songs["test"]
    assert len(songs["test"]) == len({genre[s] for s in songs["test"]}) == 5 and len(songs["train"]) == 15
    assert {c.dancers for c in made.clips} == {1, 2, 3}
    for video in made.videos:
        clips = made.clips_of(video.video_id)
        assert {c.official_split for c in clips[:2]} == {"train", "test"}
        assert all(a.end <= b.start for a, b in pairwise(clips))
        assert any(a.end == b.start for a, b in pairwise(clips))
    tempi = {s.tempo for s in made.songs}
    assert len(tempi) > 15


def test_manifest_loads_with_its_further_columns():
    made = load_manifest(ROOT / "manifests" / "demo", video=CompilationVideo, clip=CompilationClip)
    assert made.clips[0].song_start > 0 and made.videos[0].panel_width == 204


def test_truth_fits_picture_and_music(rendered):
    score = compilation.compose_song(SONG, 3)
    for clip, frames in zip(CLIPS, (60, 30)):
        truth = np.load(rendered / "truth" / f"{clip.clip_id}.npz", allow_pickle=False)
        points = truth["keypoints"]
        assert points.shape == (frames, clip.dancers, 17, 3) and points.dtype == np.float32 and truth["fps"] == 30
        seen = points[points[..., 2] > 0]
        assert len(seen) > 0.5 * frames * 17
        assert 218 <= seen[:, 0].min() and seen[:, 0].max() <= 422 and 0 <= seen[:, 1].min() and seen[:, 1].max() <= 360
        assert set(np.unique(points[..., 2])) <= {0, 1, 2}
        for name, whole in (("beats", score.beats), ("downbeats", score.downbeats)):
            inside = [t - clip.song_start for t in whole if 0 <= t - clip.song_start < frames / 30]
            np.testing.assert_allclose(truth[name], inside, atol=1e-9)
        assert len(truth["beats"]) >= 1 and truth["song_start"] == clip.song_start


def test_the_score_has_the_songs_notes_and_bars(tmp_path):
    compilation.write_score(tmp_path / "pop1.mid", SONG, 3)
    song, score = compilation.compose_song(SONG, 3), read_score(tmp_path / "pop1.mid")
    assert score.bars[0] == 0, "the rest before the first beat"
    np.testing.assert_allclose(score.bars[1 : len(song.downbeats) + 1], song.downbeats, atol=1e-3)
    kicks = [e.time for e in song.events if e.voice == "kick"]
    np.testing.assert_allclose([n.start for n in score.notes if n.drum and n.pitch == 36], kicks, atol=1e-3)
    bass = [(e.pitch, round(127 * e.velocity)) for e in song.events if e.voice == "bass"]
    assert [(n.pitch, n.velocity) for n in score.notes if n.program == 33] == bass


@pytest.mark.parametrize("genre", GENRES)
def test_every_voice_has_an_instrument(genre):
    song = Song(song_id="s", genre=genre, tempo=None, title="T")
    score = compilation.compose_song(song, 3)
    notes = to_notes(score)
    assert len(notes) == len(score.events) and {n.drum for n in notes} == {True, False}
    assert {PROGRAMS[timbre] for timbre in GENRES[genre].timbres.values()} == {n.program for n in notes if not n.drum}


def test_audio_is_the_songs_stretch_at_the_right_instant(rendered):
    song = compilation._synthesise_song(SONG, 3)
    for clip in CLIPS:
        found, rate = read_audio(rendered / "media" / "v.mp4", clip.start, clip.end - clip.start)
        first = round(clip.song_start * rate)
        wanted = song[first : first + found.shape[1]]
        spectrum = np.fft.rfft(found.mean(axis=0), 2 * len(wanted)) * np.conj(np.fft.rfft(wanted, 2 * len(wanted)))
        correlation = np.fft.irfft(spectrum)
        lag = int(np.argmax(correlation))
        assert min(lag, 2 * len(wanted) - lag) <= 44  # 1 ms
    card, _ = read_audio(rendered / "media" / "v.mp4", 0.0, 0.4)
    assert np.abs(card).max() < 100


def test_panels_stand_still_and_are_cropped_away(rendered):
    frames = np.stack([image[..., 1] for image in read_rgb(rendered / "media" / "v.mp4")]).astype(np.int16)
    assert frames.shape == (105, 360, 640)
    change = np.abs(frames[20:70] - frames[20]).mean(axis=(0, 1))
    assert change[:210].max() < 3 and change[430:].max() < 3 and change[230:410].max() > 6
    assert np.abs(frames[0] - frames[10]).mean() < 1  # a title card stands still
    for clip in CLIPS:
        out = rendered / f"{clip.clip_id}.mp4"
        done = normalise_video(rendered / "media" / "v.mp4", out, start=clip.start, end=clip.end, max_height=360)
        assert 218 <= done.crop.x <= 221 and 419 <= done.crop.x + done.crop.width <= 422 and done.crop.height == 360


def test_same_seed_same_bytes_other_seed_other_pictures(rendered, tmp_path):
    short = [dataclasses.replace(CLIPS[1], start=0.1, end=0.6)]
    songs = {"pop1": SONG}
    for name, seed in (("one", 3), ("two", 3), ("three", 4)):
        render_compilation(VIDEO, short, songs, tmp_path / name, seed=seed)
    for path in ("media/v.mp4", "truth/b.npz"):
        one, two, three = ((tmp_path / name / path).read_bytes() for name in ("one", "two", "three"))
        assert one == two != three


def test_a_clip_does_not_depend_on_its_neighbours(rendered, tmp_path):
    render_compilation(VIDEO, CLIPS[:1], {"pop1": SONG}, tmp_path, seed=3)
    assert (tmp_path / "truth" / "a.npz").read_bytes() == (rendered / "truth" / "a.npz").read_bytes()


def test_dance_goes_with_the_music():
    later = dataclasses.replace(CLIPS[0], song_start=CLIPS[0].song_start + 0.5)
    first, second = (
        np.stack([people[0] for _, people in compilation.render_clip(VIDEO, clip, SONG, seed=3)])
        for clip in (CLIPS[0], later)
    )
    seen = (first[15:, :, 2] > 0) & (second[:-15, :, 2] > 0)
    together = np.abs(first[15:] - second[:-15])[seen].mean()
    apart = np.abs(first[:-15] - second[:-15])[(first[:-15, :, 2] > 0) & (second[:-15, :, 2] > 0)].mean()
    assert seen.mean() > 0.5 and together < 0.3 * apart
