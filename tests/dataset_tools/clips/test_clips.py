"""Cuts are exact to the frame, audio stays in step, and a clip that cannot be cut says why."""

import subprocess
import sys

import numpy as np
import pytest
from scipy.io import wavfile

from dataset_tools.audio import stage as audio
from dataset_tools.audio.params import Params as AudioParams
from dataset_tools.clips import stage as clips
from dataset_tools.clips.normalise import normalise_video
from dataset_tools.clips.params import Params as ClipsParams
from dataset_tools.clips.rows import ClipRow
from dataset_tools.download.rows import DownloadRow
from dataset_tools.lib.core import schema
from dataset_tools.lib.core.errors import UserError
from dataset_tools.lib.core.layout import Layout
from dataset_tools.lib.core.manifest import Manifest, save_manifest
from dataset_tools.lib.core.work_cache import file_sha256
from dataset_tools.lib.video.video_io import X264, probe, read_audio, read_rgb, rgb_frames, write_clip
from tests.helpers.footage import RATE, click, coded, decoded, moving, numbered_video, spoiled, timed_video, tone


def nearest(times, start, count):
    """Number of the frame nearest to each output instant, the earlier of two, none more than half a frame ahead."""
    wanted, times = start + np.arange(count) / 30, np.asarray(times)
    return [int(np.argmin(np.round(np.abs(times[times < t + 1 / 60 - 1e-6] - t), 6))) for t in wanted]


@pytest.mark.parametrize("fps", [24, 25, 30, 50, 60])
def test_cut_is_exact_to_the_frame(tmp_path, fps):
    source = numbered_video(tmp_path / "in.mp4", fps, 5)
    info = normalise_video(source, tmp_path / "out.mp4", start=2.0, end=4.0, crop=False)
    assert info.frames == 60 and info.source_fps == fps and info.audio_peak is None
    assert decoded(tmp_path / "out.mp4") == nearest(np.arange(5 * fps) / fps, 2.0, 60)
    assert probe(tmp_path / "out.mp4").fps == 30


def test_uneven_time_stamps(tmp_path):
    times = np.cumsum(np.random.default_rng(0).integers(11, 90, 80)) - 11
    times = (times - times[0]).tolist()
    source = timed_video(tmp_path / "in.mp4", times)
    seconds = np.array(times) / 1000
    normalise_video(source, tmp_path / "out.mp4", start=float(seconds[20]), end=float(seconds[20]) + 1.5, crop=False)
    assert decoded(tmp_path / "out.mp4") == nearest(seconds, seconds[20], 45)


@pytest.mark.parametrize("start", [1.0, 1.0166667, 1.01])
def test_start_between_frames_moves_to_the_nearest(tmp_path, start):
    source = numbered_video(tmp_path / "in.mp4", 30, 3)
    normalise_video(source, tmp_path / "out.mp4", start=start, end=start + 1, crop=False)
    assert decoded(tmp_path / "out.mp4") in (list(range(30, 60)), list(range(31, 61)))


def test_whole_video(tmp_path):
    source = numbered_video(tmp_path / "in.mp4", 60, 1.5, tone(1.5))
    info = normalise_video(source, tmp_path / "out.mp4", crop=False)
    assert decoded(tmp_path / "out.mp4") == list(range(0, 90, 2))
    assert info.audio_peak == pytest.approx(16000 / 32768, abs=0.03)


@pytest.mark.parametrize("rotation", [90, -90, 180])
def test_rotation_is_honoured(tmp_path, rotation):
    def picture(_):
        image = np.zeros((48, 96, 3), np.uint8)
        image[:16, :16] = 255  # stored top left
        return image

    source = timed_video(tmp_path / "in.mp4", [0, 33, 67, 100], rotation, picture)
    info = normalise_video(source, tmp_path / "out.mp4", crop=False)
    image = next(read_rgb(tmp_path / "out.mp4"))
    assert (info.width, info.height) == ((96, 48) if rotation == 180 else (48, 96))
    # a rotation of 90 turns the picture counterclockwise: top left goes to bottom left
    corner = {90: image[-16:, :16], -90: image[:16, -16:], 180: image[-16:, -16:]}[rotation]
    assert corner.mean() > 200 and image.mean() < 60


def test_high_pictures_are_scaled_down(tmp_path):
    source = numbered_video(tmp_path / "in.mp4", 30, 1)
    info = normalise_video(source, tmp_path / "out.mp4", max_height=31, crop=False)
    assert (info.width, info.height) == (40, 30)


def corpus(root, cuts, videos=("v",), fetched=None):
    """A corpus whose videos lie in data/c/download: `cuts` is [(clip id, video id, start, end)]."""
    (root / "manifests" / "c").mkdir(parents=True)
    (root / "params.yaml").write_text("clips: {min_ok: 0.5, workers: 1}\naudio: {workers: 1}\n")
    layout = Layout(root=root, corpus="c")
    records = [schema.Clip(clip_id=c, video_id=v, song_id="s", start=a, end=b) for c, v, a, b in cuts]
    manifest = Manifest(
        folder=root, videos=tuple(schema.Video(video_id=v, url="x") for v in videos), clips=tuple(records),
        songs=(schema.Song(song_id="s", genre="pop"),),
    )  # fmt: skip
    save_manifest(manifest, layout.stage("sources"))
    files = {v: layout.stage("download") / f"{v}.mp4" for v in videos}
    rows = fetched or [DownloadRow(id=v, status="ok", sha256=file_sha256(p)) for v, p in files.items() if p.exists()]
    schema.write_records(layout.stage("download") / "rows.csv", rows, DownloadRow)
    return layout


@pytest.mark.parametrize("fps", [24, 25, 30, 60])
def test_flash_and_click_stay_together(tmp_path, fps):
    at, path = 3.0, tmp_path / "data" / "c" / "download" / "v.mp4"
    path.parent.mkdir(parents=True)

    def pictures():
        for j in range(5 * fps):
            yield np.full((48, 64, 3), 255 if j == at * fps else 10 + j % 7, np.uint8)

    write_clip(path, rgb_frames(pictures()), click(5, at), RATE, fps=fps, audio_codec="aac")
    # starts between two source frames; such that the flash falls on an output frame after moving to the nearest
    start = {24: 2.01, 25: 1.99, 30: 1.315, 60: 1.304}[fps]
    begin = round(start * fps) / fps
    layout = corpus(tmp_path, [("a", "v", start, start + 2.5)])
    assert clips.clips(layout, ClipsParams(crop=False, workers=1))[0].status == "ok"
    assert audio.audio(layout, AudioParams(workers=1))[0].status == "ok"
    flash = int(np.argmax([image.mean() for image in read_rgb(layout.stage("clips") / "a.mp4")])) / 30
    rate, wave = wavfile.read(layout.stage("audio") / "a.wav")
    heard = int(np.argmax(np.abs(wave) > 0.25 * np.abs(wave).max())) / rate
    assert flash == pytest.approx(at - begin, abs=0.001)
    assert abs(flash - heard) < 0.010


@pytest.mark.parametrize(
    "fps, start, every", [(25, 0.5, 5), (25, 0.513, 8), (24, 0.51, 7), (30, 0.512, 7), (60, 0.508, 16)]
)
def test_each_picture_is_within_half_an_output_frame_of_its_audio(tmp_path, fps, start, every):
    """Flashes and clicks every few source frames, from starts that fall on none: the audio is exact, and a picture stands in the
    output frame nearest to its instant, which from 30 and 60 fps is that instant."""
    path = tmp_path / "data" / "c" / "download" / "v.mp4"
    path.parent.mkdir(parents=True)
    bright = range(2 * every, 3 * fps, every)
    pictures = (np.full((48, 64, 3), 255 if j in bright else 10 + j % 7, np.uint8) for j in range(3 * fps + 10))
    write_clip(path, rgb_frames(pictures), sum(click(3.2, j / fps) for j in bright), RATE, fps=fps, audio_codec="aac")
    layout = corpus(tmp_path, [("a", "v", start, start + 2.2)])
    assert clips.clips(layout, ClipsParams(crop=False, workers=1))[0].status == "ok"
    assert audio.audio(layout, AudioParams(workers=1))[0].status == "ok"
    begin = round(start * fps) / fps
    instants = np.array([j / fps - begin for j in bright if start + 0.1 < j / fps < start + 2.1])
    light = np.array([image.mean() for image in read_rgb(layout.stage("clips") / "a.mp4")]) > 128
    rate, wave = wavfile.read(layout.stage("audio") / "a.wav")
    loud = np.flatnonzero(np.abs(wave) > 0.25 * np.abs(wave).max()) / rate

    def off(found):  # from each instant to the first of it, seconds
        return np.array([found[np.abs(found - at) < 0.05][0] for at in instants]) - instants

    shown = off(np.flatnonzero(light & ~np.r_[False, light[:-1]]) / 30)
    assert len(instants) > 5 and np.abs(off(loud)).max() < 0.005
    assert np.abs(shown).max() < (0.001 if fps in (30, 60) else 1 / 60 + 0.001)


def test_every_clip_has_a_row_with_the_reason(tmp_path):
    folder = tmp_path / "data" / "c" / "download"
    numbered_video(folder / "good.mp4", 30, 3, tone(3))
    numbered_video(folder / "mute.mp4", 30, 2)
    numbered_video(folder / "silent.mp4", 30, 2, tone(2) * 0)
    (folder / "broken.mp4").write_bytes(b"<html>not a video</html>" * 50)
    videos = ("good", "mute", "silent", "broken", "gone")
    cuts = [("ok", "good", 0.5, 2.5), ("past", "good", 2.0, 4.0), ("beyond", "good", 9.0, 10.0),
            ("untimed", "good", None, None)] + [(v, v, 0.0, 1.0) for v in videos[1:]]  # fmt: skip
    rows = [DownloadRow(id=v, status="ok", sha256=v) for v in videos[:-1]]
    layout = corpus(tmp_path, cuts, videos, [*rows, DownloadRow(id="gone", status="permanent", reason="HTTP 404")])
    found = {row.id: row for row in clips.clips(layout, ClipsParams(workers=1))}
    assert [row.id for row in found.values() if row.status == "ok"] == ["ok"]
    for name, words in {
        "past": "2 to 4 s, but the video ends at 3.000 s", "beyond": "but the video ends at 3.000 s",
        "untimed": "start and end are empty", "mute": "has no audio", "silent": "is silent",
        "broken": "broken.mp4: not a readable video", "gone": "video gone was not downloaded (permanent: HTTP 404)",
    }.items():  # fmt: skip
        assert words in found[name].reason and "\n" not in found[name].reason
    target = layout.stage("clips")
    assert sorted(p.name for p in target.iterdir()) == ["ok.mp4", "rows.csv"]
    assert len(schema.read_records(target / "rows.csv", ClipRow)) == len(cuts)
    assert str(tmp_path) not in (target / "rows.csv").read_text()

    done = subprocess.run(
        [sys.executable, "-m", "dataset_tools.clips", "--corpus", "c", "--root", str(tmp_path)],
        check=False,
        capture_output=True,
        text=True,
    )
    last = done.stderr.strip().splitlines()[-1]
    assert done.returncode == 2 and last.startswith("error: clips: 1 of 8 ok, 7 failed, but clips.min_ok asks for 50%")
    assert "Traceback" not in done.stderr


def test_damaged_pictures_are_counted_and_too_many_are_a_failure(tmp_path):
    folder = tmp_path / "data" / "c" / "download"
    folder.mkdir(parents=True)
    options = {"preset": "ultrafast", "g": "30", "bf": "0", "x264-params": "threads=1:scenecut=0"}
    write_clip(
        tmp_path / "in.mp4", rgb_frames(moving(j) for j in range(90)), tone(3), RATE, audio_codec="aac", options=options
    )
    spoiled(tmp_path / "in.mp4", folder / "v.mp4", [50])
    layout = corpus(tmp_path, [("before", "v", 0.0, 1.5), ("within", "v", 1.0, 2.0), ("after", "v", 2.0, 3.0)])

    def cut(**params):
        return {row.id: row for row in clips.clips(layout, ClipsParams(workers=1, crop=False, **params))}

    rows = cut(max_damaged=10)
    assert {name: (row.status, row.damaged) for name, row in rows.items()} == {
        "before": ("ok", 0),
        "within": ("ok", 10),
        "after": ("ok", 0),
    }
    rows = cut()  # from the cache
    assert [rows[name].status for name in ("before", "within", "after")] == ["ok", "failed", "ok"]
    assert rows["within"].reason.startswith(
        "10 of its 30 frames are damaged, or depend on a damaged one, but clips.max_damaged is 0"
    )


def test_clips_that_are_there_are_not_looked_at_again(tmp_path, monkeypatch):
    numbered_video(tmp_path / "data/c/download/v.mp4", 30, 4, tone(4))
    layout = corpus(tmp_path, [("a", "v", 0.5, 1.5), ("b", "v", 2.0, 3.0)])
    asked, real = [], clips.run_all
    monkeypatch.setattr(clips, "run_all", lambda f, jobs, *a, **k: asked.append(len(jobs)) or real(f, jobs, *a, **k))
    first = clips.clips(layout, ClipsParams(workers=1))
    files = {path.name: path.read_bytes() for path in layout.stage("clips").iterdir()}

    def again(expected, **params):
        assert clips.clips(layout, ClipsParams(workers=1, **params)) == first and asked.pop() == expected
        assert {path.name: path.read_bytes() for path in layout.stage("clips").iterdir()} == files

    again(0)
    again(0, max_cuts=5)  # the row is made anew from what is known
    again(2, max_height=480)  # other clips, although their pictures are as small
    (layout.stage("clips") / "a.mp4").write_bytes(b"damaged")
    (layout.stage("clips") / "b.mp4").unlink()
    again(2, max_height=480)
    again(0, max_height=480)


def test_a_note_in_the_cache_that_can_not_be_read_is_made_again(tmp_path):
    numbered_video(tmp_path / "data/c/download/v.mp4", 30, 2, tone(2))
    layout = corpus(tmp_path, [("a", "v", 0.5, 1.5)])
    first = clips.clips(layout, ClipsParams(workers=1))
    (note,) = layout.cache("clips").glob("*.json")
    note.write_text("{")
    layout.memo("clips").unlink()
    assert clips.clips(layout, ClipsParams(workers=1)) == first


def test_encoder_gives_the_same_bytes_whatever_the_processor_has(tmp_path):
    """Fails on a processor with AVX-512 where x264 is left its macroblock tree."""
    rng = np.random.default_rng(0)
    ground = rng.integers(0, 255, (360, 204, 3)).astype(np.uint8)
    pictures = [np.roll(ground // 2 + 60, (3 * j, 2 * j), axis=(0, 1)) for j in range(60)]
    older = X264 | {"x264-params": X264["x264-params"] + ":asm=SSE2Fast,SSSE3,SSE4.2"}
    for name, options in (("a", X264), ("b", older)):
        write_clip(tmp_path / f"{name}.mp4", rgb_frames(pictures), None, options=options)
    assert file_sha256(tmp_path / "a.mp4") == file_sha256(tmp_path / "b.mp4")


def test_equal_bytes_again_and_from_the_cache(tmp_path):
    numbered_video(tmp_path / "one" / "data/c/download/v.mp4", 25, 3, tone(3))
    one = corpus(tmp_path / "one", [("a", "v", 0.5, 2.5)])
    two = tmp_path / "two" / "data/c/download"
    two.mkdir(parents=True)
    (two / "v.mp4").write_bytes((one.stage("download") / "v.mp4").read_bytes())
    two = corpus(tmp_path / "two", [("a", "v", 0.5, 2.5)])
    params = ClipsParams(workers=1)
    for layout in (one, two):
        clips.clips(layout, params)
    for name in ("a.mp4", "rows.csv"):
        assert (one.stage("clips") / name).read_bytes() == (two.stage("clips") / name).read_bytes()
    before = (one.stage("clips") / "a.mp4").read_bytes()
    (one.stage("clips") / "a.mp4").unlink()
    (one.stage("download") / "v.mp4").write_bytes(b"no longer needed")
    assert clips.clips(one, params)[0].status == "ok"
    assert (one.stage("clips") / "a.mp4").read_bytes() == before


def test_audio_is_lossless_and_as_long_as_the_picture(tmp_path):
    rng = np.random.default_rng(5)
    wave = rng.integers(-9000, 9000, (2, 3 * 48000), dtype=np.int16)
    source = tmp_path / "in.mp4"
    write_clip(source, rgb_frames(coded(j) for j in range(90)), wave, 48000)
    normalise_video(source, tmp_path / "out.mp4", start=1.0, end=2.0, crop=False)
    found, rate = read_audio(tmp_path / "out.mp4")
    assert rate == 48000
    np.testing.assert_array_equal(found, wave[:, 48000:96000])


def test_unreadable_and_missing_files_are_one_clear_line(tmp_path):
    (tmp_path / "page.mp4").write_text("<html></html>")
    with pytest.raises(UserError, match="page.mp4: not a readable video"):
        normalise_video(tmp_path / "page.mp4", tmp_path / "out.mp4")
    with pytest.raises(UserError, match="file not found"):
        normalise_video(tmp_path / "none.mp4", tmp_path / "out.mp4")
    wavfile.write(tmp_path / "audio.wav", 8000, np.zeros(8000, np.int16))
    with pytest.raises(UserError, match="no video stream"):
        normalise_video(tmp_path / "audio.wav", tmp_path / "out.mp4")
    assert not (tmp_path / "out.mp4").exists()
