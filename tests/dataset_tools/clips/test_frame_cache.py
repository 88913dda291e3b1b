"""A clip is decoded once where its frames fit into memory, twice where not, and its bytes are the same."""

import numpy as np
import pytest

from dataset_tools.clips import open_video
from dataset_tools.clips.frame_cache import FrameCache
from dataset_tools.clips.normalise import cut_span, normalise_video
from dataset_tools.clips.open_video import OpenVideo
from dataset_tools.lib.core.work_cache import file_sha256
from dataset_tools.lib.parallel.prefetch import Prefetcher
from dataset_tools.lib.video.video_io import timed_frames
from tests.helpers.footage import numbered_video, timed_video, tone

FRAME = 64 * 48 * 3 // 2  # bytes of a frame of numbered_video, without what the decoder adds to its lines
ALL = 1 << 30


@pytest.fixture
def decodings(monkeypatch):
    """Seconds from which something was decoded."""
    begun = []

    def counted(path, start, **options):
        begun.append(start)
        yield from timed_frames(path, start, **options)

    monkeypatch.setattr(open_video, "timed_frames", counted)
    return begun


def seen(frames):
    return [(time, frame.to_ndarray().tobytes()) for time, frame in frames]


@pytest.mark.parametrize("memory", [0, 20 * FRAME, ALL])
def test_frames_looked_at_are_the_frames_taken(tmp_path, decodings, memory):
    source = numbered_video(tmp_path / "in.mp4", 30, 3)
    expected = seen(timed_frames(source))[28:]  # the first shown at 1 s or later is number 30
    held = FrameCache(OpenVideo(source), 1.0, memory)
    first = seen(frame for frame, _ in zip(held.peek(), range(5)))
    assert first == expected[:5]
    assert seen(held.peek()) == expected
    assert seen(held.take()) == expected
    assert len(decodings) == (1 if memory == ALL else 2 if memory else 3)


def test_frames_are_given_up_as_they_are_taken(tmp_path):
    held = FrameCache(OpenVideo(numbered_video(tmp_path / "in.mp4", 30, 1)), 0.0, ALL)
    assert len(seen(held.peek())) == 30
    taken = held.take()
    next(taken)
    assert held._cache is None and len(taken.gi_frame.f_locals["frames"]) == 29


@pytest.mark.parametrize("start", [2.0, 5.0])
def test_a_start_after_the_last_frame_has_the_frames_before_it(tmp_path, start):
    source = timed_video(tmp_path / "in.mp4", [0, 40, 100, 170, 1900])
    assert [round(time, 3) for time, _ in FrameCache(OpenVideo(source), start, ALL).take()] == [0.1, 0.17, 1.9]


@pytest.mark.parametrize("kind", ["even", "uneven"])
@pytest.mark.parametrize("span", [(None, None), (0.51, 2.0), (1.0, 1.3)])
def test_a_clip_has_the_same_bytes_decoded_once_or_twice(tmp_path, decodings, kind, span):
    if kind == "even":
        source = numbered_video(tmp_path / "in.mp4", 24, 3, tone(3))
    else:
        times = np.cumsum(np.random.default_rng(0).integers(11, 90, 60))
        source = timed_video(tmp_path / "in.mp4", (times - times[0]).tolist())
    made = {}
    for memory in (ALL, 4 * FRAME):
        decodings.clear()
        out = tmp_path / f"{memory}.mp4"
        made[memory] = normalise_video(source, out, start=span[0], end=span[1], memory=memory), file_sha256(out)
        assert (len(decodings) == 1) == (memory == ALL)
    assert made[ALL] == made[4 * FRAME]


def test_a_long_video_is_never_held_as_a_whole(tmp_path, decodings):
    source = numbered_video(tmp_path / "in.mp4", 30, 3)
    cut = cut_span(OpenVideo(source), crop=False, memory=40 * FRAME)  # one frame is looked at, and fits
    assert isinstance(cut.frames, Prefetcher)
    made = cut.write(tmp_path / "long.mp4"), file_sha256(tmp_path / "long.mp4")
    assert len(decodings) == 1
    assert made == (normalise_video(source, tmp_path / "whole.mp4", crop=False), file_sha256(tmp_path / "whole.mp4"))


def test_frames_that_cannot_fit_are_not_kept_at_all(tmp_path):
    held = FrameCache(OpenVideo(numbered_video(tmp_path / "in.mp4", 30, 1)), 0.0, 20 * FRAME, expected=30)
    next(held.peek())
    assert not held.fits


def test_one_decoder_is_closed_before_the_next_one_opens(tmp_path, monkeypatch):
    """A decoder keeps the memory of all the frames that were alive at once."""
    alive = []

    def counted(path, start, **options):
        assert not alive
        alive.append(path)
        try:
            yield from timed_frames(path, start, **options)
        finally:
            alive.remove(path)

    monkeypatch.setattr(open_video, "timed_frames", counted)
    held = FrameCache(OpenVideo(numbered_video(tmp_path / "in.mp4", 30, 1)), 0.0, 5 * FRAME)
    assert len(seen(frame for frame, _ in zip(held.peek(), range(10)))) == 10
    assert len(seen(held.take())) == 30 and alive == []
