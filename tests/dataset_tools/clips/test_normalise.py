"""Footage of every kind: the frames that were asked for, and audio that stays in step with them."""

import subprocess
from fractions import Fraction

import av
import imageio_ffmpeg
import numpy as np
import pytest

from dataset_tools.audio.stage import to_corpus_audio
from dataset_tools.clips.normalise import cut_span, normalise_video
from dataset_tools.clips.open_video import OpenVideo
from dataset_tools.lib.core.errors import UserError
from dataset_tools.lib.video.video_io import read_audio, read_rgb, rgb_frames
from tests.helpers.footage import RATE, coded, decoded, number_of, numbered_video, tone

SECONDS, TICKS = 5, 90000
EVERY = 0.7  # seconds between two flashes, each with its click: no multiple of any frame's length
PER_CLICK = 0.005  # seconds


def flashing(path, times, *, late=0.0, rate=RATE, layout="stereo", slow=1.0, rotation=0, clock=None, jitter=0.0):
    """A video with a frame at each of `times` (s), flashing every 0.7 s or so with a click at the same instant.

    All is `late` s later than the beginning of the audio; the audio's clock makes it `slow` times as long. `clock` gives
    the instant, s, at which each of the audio's seconds was recorded, and its packets are stamped with that, give or take
    `jitter` s.
    """
    times = np.asarray(times) + late
    flashes = [int(np.abs(times - at).argmin()) for at in np.arange(late + EVERY, times[-1] - 0.2, EVERY)]
    audio = np.zeros((round((times[-1] + 0.04) * slow * rate), av.AudioLayout(layout).nb_channels), np.float32)
    wave = 0.6 * np.sin(2 * np.pi * 2000 * np.arange(1, round(PER_CLICK * rate) + 1) / rate)
    recorded = np.arange(len(audio)) / rate / slow
    recorded = recorded if clock is None else clock(recorded)
    noise = np.random.default_rng(8)
    for flash in flashes:
        at = int(np.searchsorted(recorded, times[flash]))
        if at < len(audio):
            audio[at : at + len(wave)] = wave[: len(audio) - at, None]
    with av.open(str(path), "w") as out:
        video = out.add_stream(
            "libx264", rate=30, options={"preset": "ultrafast", "bf": "2", "x264-params": "threads=1"}
        )
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        video.time_base = video.codec_context.time_base = Fraction(1, TICKS)
        if rotation:
            video.set_display_rotation(rotation)
        stream = out.add_stream("aac", rate=rate)
        stream.codec_context.layout = layout

        def stamped(packets):
            for packet in packets if clock else ():
                first = recorded[min(max(packet.pts, 0), len(recorded) - 1)] + min(packet.pts, 0) / rate
                packet.pts = packet.dts = round((first + noise.uniform(-jitter, jitter)) * rate)
            return packets

        pictures = rgb_frames(np.full((48, 64, 3), 255 if k in flashes else 20, np.uint8) for k in range(len(times)))
        for frame, at in zip(pictures, times, strict=True):
            frame.pts, frame.time_base, frame.pict_type = round(at * TICKS), Fraction(1, TICKS), 0
            out.mux(video.encode(frame))
        out.mux(video.encode(None))
        for at in range(0, len(audio), 1024):
            block = np.ascontiguousarray(audio[at : at + 1024].T)
            frame = av.AudioFrame.from_ndarray(block, "fltp", layout)
            frame.sample_rate, frame.pts, frame.time_base = rate, at, Fraction(1, rate)
            out.mux(stamped(stream.encode(frame)))
        out.mux(stamped(stream.encode(None)))
    return path


def offsets(clip):
    """Seconds from each flash of a clip to its click."""
    bright = np.array([image.mean() > 140 for image in read_rgb(clip)])
    flashes = np.flatnonzero(bright & ~np.r_[False, bright[:-1]]) / 30
    mono = np.abs(to_corpus_audio(*read_audio(clip), len(bright) * 735))
    loud = np.flatnonzero(mono > 0.25 * mono.max()) / 22050
    clicks = loud[np.r_[True, np.diff(loud) > 0.1]]
    assert len(flashes) == len(clicks) >= 4
    return clicks - flashes


def even(fps):
    return np.arange(SECONDS * fps) / fps


def uneven():
    times = np.cumsum(np.random.default_rng(3).choice([0.011, 0.02, 0.033, 0.05, 0.09], 120))
    return times - times[0]


KINDS = {
    "24 fps": (even(24), {}), "25 fps": (even(25), {}), "30 fps": (even(30), {}), "50 fps": (even(50), {}),
    "60 fps": (even(60), {}), "29.97 fps": (np.arange(150) * 1001 / 30000, {}), "uneven": (uneven(), {}),
    "rotated": (even(25), {"rotation": 90}), "picture late": (even(30), {"late": 0.43}),
    "48 kHz": (even(30), {"rate": 48000}), "mono": (even(30), {"layout": "mono"}),
    "22 kHz": (even(30), {"rate": 22050}), "5.1": (even(30), {"layout": "5.1", "rate": 48000}),
}  # fmt: skip


@pytest.mark.parametrize("cut", [(None, None), (0.9, 4.1)])
@pytest.mark.parametrize("kind", KINDS)
def test_audio_and_picture_stay_in_step(tmp_path, kind, cut):
    times, options = KINDS[kind]
    source = flashing(tmp_path / "in.mp4", times, **options)
    made = normalise_video(source, tmp_path / "out.mp4", start=cut[0], end=cut[1], crop=False, need_audio=True)
    off = offsets(tmp_path / "out.mp4")
    assert abs(off.mean()) < 0.010
    # a flash is shown on the nearest of the output's frames
    assert np.abs(off).max() < (0.010 if len(times) == SECONDS * 30 else 0.010 + 1 / 60)
    assert (made.width, made.height) == ((48, 64) if "rotation" in options else (64, 48))
    audio, rate = read_audio(tmp_path / "out.mp4")
    assert audio.shape[1] == round(made.frames / 30 * rate)


@pytest.mark.parametrize("suffix", ["ts", "mkv"])
def test_other_containers_and_clocks_that_start_late(tmp_path, suffix):
    source = flashing(tmp_path / f"in.{suffix}", even(30))
    normalise_video(source, tmp_path / "out.mp4", start=1.0, end=4.0, crop=False)
    assert np.abs(offsets(tmp_path / "out.mp4")).max() < 0.010


def test_cut_by_stream_copy(tmp_path):
    """Hidden run-up, negative time stamps and an edit list: what people cut with ffmpeg -c copy."""
    source = flashing(tmp_path / "in.mp4", even(30))
    ffmpeg = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-ss", "1.3", "-i", source, "-t", "3", "-c", "copy"]
    subprocess.run([*ffmpeg, tmp_path / "cut.mp4"], check=True)
    normalise_video(tmp_path / "cut.mp4", tmp_path / "out.mp4", crop=False)
    assert np.abs(offsets(tmp_path / "out.mp4")).max() < 0.010


@pytest.mark.parametrize("slow", [0.98, 1.02])
def test_audio_of_another_clock(tmp_path, slow):
    source = flashing(tmp_path / "in.mp4", even(30), slow=slow)
    made = normalise_video(source, tmp_path / "as_is.mp4", crop=False)
    assert made.sound_drift == pytest.approx(slow - 1, abs=0.005)  # AAC comes in blocks of 23 ms
    assert np.abs(offsets(tmp_path / "as_is.mp4")).max() > 0.05
    normalise_video(source, tmp_path / "even.mp4", start=0.9, end=4.1, crop=False, stretch_audio=0.05)
    assert np.abs(offsets(tmp_path / "even.mp4")).max() < 0.025  # of so short audio the length is known to 23 ms
    normalise_video(source, tmp_path / "too_far.mp4", crop=False, stretch_audio=0.005)
    assert (tmp_path / "too_far.mp4").read_bytes() == (tmp_path / "as_is.mp4").read_bytes()


def lost(*gaps):
    """A recorder that loses audio: (second, length in s) of each loss."""
    return lambda t: t + sum(length * (t >= at) for at, length in gaps)


CLOCKS = {
    "runs away and comes back": (lambda t: t + 0.05 * np.sin(2 * np.pi * t / SECONDS), {}),
    "1 % fast": (lambda t: t * 1.01, {}),
    "gaps": (lost((1.3, 0.04), (2.95, 0.15), (3.6, 0.025)), {}),
    "small losses": (lost(*((0.4 * k, 0.012) for k in range(1, 12))), {}),
    "jittering stamps": (lambda t: t + 0.004 * t, {"jitter": 0.007}),
}


@pytest.mark.parametrize(("suffix", "cut"), [("mp4", (None, None)), ("mkv", (0.9, 4.1))])
@pytest.mark.parametrize("kind", CLOCKS)
def test_audio_whose_time_stamps_drift_against_the_picture(tmp_path, kind, suffix, cut):
    clock, options = CLOCKS[kind]
    source = flashing(tmp_path / f"in.{suffix}", even(30), clock=clock, **options)
    found = normalise_video(source, tmp_path / "out.mp4", start=cut[0], end=cut[1], crop=False)
    assert np.abs(offsets(tmp_path / "out.mp4")).max() < 0.010
    assert found.sound_lost == pytest.approx(0.215 if kind == "gaps" else 0, abs=0.01), "what never came is told"


def test_before_a_late_picture_its_first_frame_stands_still(tmp_path):
    source = tmp_path / "in.mkv"
    with av.open(str(source), "w") as out:
        video = out.add_stream("libx264", rate=30, options={"preset": "ultrafast"})
        video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
        audio = out.add_stream("flac", rate=RATE)
        for k, frame in enumerate(rgb_frames(coded(k) for k in range(60))):
            frame.pts, frame.time_base = 15 + k, Fraction(1, 30)
            out.mux(video.encode(frame))
        out.mux(video.encode(None))
        frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(tone(2.5).T).reshape(1, -1), "s16", "stereo")
        frame.sample_rate, frame.pts, frame.time_base = RATE, 0, Fraction(1, RATE)
        out.mux(audio.encode(frame))
        out.mux(audio.encode(None))
    normalise_video(source, tmp_path / "all.mp4", crop=False)
    assert decoded(tmp_path / "all.mp4") == [0] * 15 + list(range(60))
    normalise_video(source, tmp_path / "cut.mp4", start=0.3, end=1.3, crop=False)
    assert decoded(tmp_path / "cut.mp4") == [0] * 6 + list(range(24))
    with pytest.raises(UserError, match=r"0 to 0.3 s, but the video stream starts at 0.5"):
        normalise_video(source, tmp_path / "none.mp4", start=0.0, end=0.3, crop=False)
    assert not (tmp_path / "none.mp4").exists()


@pytest.mark.parametrize("start", [5.0, 5.005, 4.995])
def test_wanted_frames_150_to_209(tmp_path, start):
    source = numbered_video(tmp_path / "in.mp4", 30, 8)
    normalise_video(source, tmp_path / "out.mp4", start=start, end=start + 2, crop=False)
    assert decoded(tmp_path / "out.mp4") == list(range(150, 210))


@pytest.mark.parametrize(("fps", "every", "memory"), [(30, 1, 1 << 30), (30, 2, 1 << 30), (30, 3, 0), (60, 2, 1 << 30)])
def test_frames_that_are_only_read_are_those_of_the_clip(tmp_path, fps, every, memory):
    """Each `every`th frame of the clip, also where the beginning does not fit into memory."""
    source = numbered_video(tmp_path / "in.mp4", fps, 4)
    normalise_video(source, tmp_path / "out.mp4", crop=False)
    cut = cut_span(OpenVideo(source), crop=False, audio=False, every=every, memory=memory)
    read = [number_of(image) for image in cut.read()]
    assert read == decoded(tmp_path / "out.mp4")[::every] and cut.count == len(read)


def test_a_video_that_ends_early_is_an_error_of_the_reader(tmp_path):
    source = numbered_video(tmp_path / "in.mp4", 30, 2)
    cut = cut_span(OpenVideo(source), end=2.9, crop=False, audio=False, every=2)
    with pytest.raises(UserError, match="0 to 2.9 s, but the video ends at 2.000 s"):
        list(cut.read())
