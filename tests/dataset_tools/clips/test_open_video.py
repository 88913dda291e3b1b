"""Spans of an open video have the same frames whatever was read before, and neighbours cost no key frame's run-up."""

import pytest

from dataset_tools.clips import open_video
from dataset_tools.clips.normalise import cut_span
from dataset_tools.clips.open_video import OpenVideo
from dataset_tools.lib.core.work_cache import file_sha256
from dataset_tools.lib.video.decoding import find_key_frame_time
from dataset_tools.lib.video.video_io import rgb_frames, timed_frames, write_clip
from tests.helpers.footage import coded, numbered_video, tone

OPTIONS = {"preset": "ultrafast", "g": "30", "bf": "2", "x264-params": "threads=1:scenecut=0:keyint-min=30"}


@pytest.fixture
def source(tmp_path):
    """6 s with B-frames and a key frame each second."""
    path = tmp_path / "in.mp4"
    write_clip(path, rgb_frames(coded(j) for j in range(180)), tone(6), 44100, audio_codec="aac", options=OPTIONS)
    return path


@pytest.fixture
def decodings(monkeypatch):
    """Seconds from which something was decoded anew."""
    begun = []

    def counted(path, start, **options):
        begun.append(start)
        yield from timed_frames(path, start, **options)

    monkeypatch.setattr(open_video, "timed_frames", counted)
    return begun


def shown(frames, start, count):
    """The last frame before `start`, which may be the nearest, and `count` from there on."""
    found = []
    for time, frame in frames:
        found.append((time, frame.to_ndarray().tobytes()))
        if time >= start + count / 30:
            break
    before = [k for k, (time, _) in enumerate(found) if time < start]
    return found[before[-1] if before else 0 :]


@pytest.mark.parametrize(
    ("spans", "anew"),
    [
        ([(0.2, 10), (0.6, 5)], 1),  # a gap within the same second
        ([(0.2, 10), (0.54, 5), (0.7, 5)], 1),  # close upon each other
        ([(0.2, 10), (2.5, 5)], 2),  # a key frame lies between
        ([(0.2, 10), (0.3, 5)], 2),  # overlapping
        ([(2.2, 10), (0.3, 5)], 2),  # earlier
        ([(0.2, 27), (1.1, 5)], 1),  # the key frame has just been passed
        ([(0.0, 5), (0.0, 5)], 2),
        ([(5.5, 60), (7.0, 5), (5.0, 3)], 2),  # after the end, and back
    ],
)
def test_frames_do_not_depend_on_what_was_read_before(source, decodings, spans, anew):
    video = OpenVideo(source)
    for start, count in spans:
        assert shown(video.frames(start), start, count) == shown(timed_frames(source, start, threads=1), start, count)
    assert len(decodings) == anew


def test_a_clip_has_the_same_bytes_alone_and_after_its_neighbour(source, tmp_path, decodings):
    spans = [(0.1, 0.5), (0.5, 0.9), (0.91, 1.6), (1.3, 2.2), (5.2, 6.0), (5.6, 6.0)]
    video, made = OpenVideo(source), {}
    for way in ("after", "alone"):
        for k, (start, end) in enumerate(spans):
            cut = cut_span(video if way == "after" else OpenVideo(source), start=start, end=end)
            made[way, k] = cut.write(tmp_path / "out.mp4"), file_sha256(tmp_path / "out.mp4")
        assert len(decodings) == (4 if way == "after" else 4 + len(spans))
    assert all(made["after", k] == made["alone", k] for k in range(len(spans)))


@pytest.mark.parametrize("second", [0.0, 0.5, 1.0, 2.97, 5.99, 9.0])
def test_the_key_frame_is_the_one_from_which_decoding_begins(source, second):
    assert find_key_frame_time(source, second) == next(timed_frames(source, second))[0] == min(int(second), 5)


def test_no_key_frame_before_the_picture(tmp_path):
    path = numbered_video(tmp_path / "in.mp4", 30, 1)
    assert find_key_frame_time(path, -1.0) == float("inf")
