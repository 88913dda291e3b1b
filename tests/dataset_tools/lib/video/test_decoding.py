"""Pictures come in their order, from where they can be decoded cleanly; what is spoiled is told, and what can't be is refused."""

import av
import numpy as np
import pytest

from dataset_tools.clips.normalise import normalise_video
from dataset_tools.clips.open_video import OpenVideo
from dataset_tools.lib.core.errors import UserError
from dataset_tools.lib.video.decoding import has_decoding_timestamps, timed_frames
from dataset_tools.lib.video.media import read_timeline
from dataset_tools.lib.video.video_io import rgb_frames, write_clip
from tests.helpers.footage import coded, decoded, moving, numbered_video, renamed, spoiled, tone

B_FRAMES = {
    "preset": "ultrafast",
    "crf": "18",
    "g": "60",
    "bf": "3",
    "x264-params": "threads=1:b-adapt=0:b-pyramid=normal:scenecut=0",
}


def film(path, pictures=coded, frames=120, audio=None, **options):
    write_clip(
        path,
        rgb_frames(pictures(j) for j in range(frames)),
        audio,
        44100,
        audio_codec="aac",
        options=B_FRAMES | options,
    )
    return path


def copied(path, target, shift=0.0, append=False):
    """The picture of a film in another container, all of it `shift` s later; appended to what is there."""
    made = target.with_suffix(".part" + target.suffix)
    with av.open(str(path)) as source, av.open(str(made), "w", format={".ts": "mpegts"}.get(target.suffix)) as out:
        stream = source.streams.video[0]
        to = out.add_stream_from_template(stream)
        for packet in source.demux(stream):
            if packet.size:
                packet.pts, packet.dts = (round(t + shift / stream.time_base) for t in (packet.pts, packet.dts))
                packet.stream = to
                out.mux(packet)
    with open(target, "ab" if append else "wb") as handle:
        handle.write(made.read_bytes())
    return target


def in_avi(folder):
    film(folder / "in.mp4")
    with av.open(str(folder / "in.avi"), "w") as out:
        stream = out.add_stream("libx264", rate=30, options=B_FRAMES)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for frame in rgb_frames(coded(j) for j in range(120)):
            frame.pict_type = 0
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return folder / "in.avi"


def without_composition_times(folder):
    return renamed(film(folder / "in.mp4"), folder / "faulty.mp4", {"ctts": "free", "edts": "free"})


def without_composition_times_but_with_their_edit_list(folder):
    return renamed(film(folder / "in.mp4"), folder / "faulty.mp4", {"ctts": "free"})


@pytest.mark.parametrize(
    ("made", "start"),
    [
        *((made, start) for made in (in_avi, without_composition_times) for start in (0.0, 1.5, 3.0)),
        *((without_composition_times_but_with_their_edit_list, start) for start in (1.5, 3.0)),
    ],
)
def test_stamps_of_decoding_are_put_in_order(tmp_path, made, start):
    source = made(tmp_path)
    assert has_decoding_timestamps(source) and not has_decoding_timestamps(tmp_path / "in.mp4")
    times = [time for time, _ in timed_frames(source, start)]
    assert np.allclose(np.diff(times)[5:], 1 / 30, atol=1e-3)
    normalise_video(source, tmp_path / "out.mp4", start=start, end=start + 1, crop=False)
    numbers = decoded(tmp_path / "out.mp4")
    assert numbers == list(range(numbers[0], numbers[0] + 30)) and numbers[0] == 30 * start


@pytest.mark.parametrize("reordered", [True, False], ids=["with B-frames", "none, though the decoder expects some"])
def test_a_beginning_that_is_cut_away_by_an_edit_list_shifts_and_spoils_nothing(tmp_path, reordered):
    """A film begins between two key pictures; without B-frames, stamps of decoding are those of presentation."""
    no_b = {"x264-params": "threads=1:b-adapt=1:b-bias=-100:b-pyramid=0:scenecut=0", "preset": "fast"}
    source, trimmed = film(tmp_path / "in.mp4", **({} if reordered else no_b)), tmp_path / "trimmed.mp4"
    with av.open(str(source)) as whole, av.open(str(trimmed), "w") as out:
        stream = whole.streams.video[0]
        to = out.add_stream_from_template(stream)
        for packet in whole.demux(stream):
            if packet.size:
                packet.pts = packet.pts - round(0.5 / stream.time_base)
                packet.dts = packet.dts - round(0.5 / stream.time_base) if reordered else packet.pts
                packet.stream = to
                out.mux(packet)
    with av.open(str(trimmed)) as media:
        assert media.streams.video[0].codec_context.has_b_frames and next(media.demux(video=0)).is_discard
    damaged = set()
    times = [time for time, _ in timed_frames(trimmed, damaged=damaged)]
    assert np.allclose(times, np.arange(105) / 30, atol=1e-3) and not damaged
    made = normalise_video(trimmed, tmp_path / "out.mp4", start=1.0, end=2.0, crop=False)
    assert decoded(tmp_path / "out.mp4") == list(range(45, 75)) and made.damaged == 0


@pytest.mark.parametrize("codec", ["libx264", "mpeg4", "libvpx-vp9"])
def test_pictures_flagged_as_key_pictures_that_are_none(tmp_path, codec):
    options = {
        "libx264": {"preset": "ultrafast", "bf": "0", "x264-params": "threads=1"},
        "mpeg4": {"qscale": "3"},
        "libvpx-vp9": {"cpu-used": "8", "crf": "30"},
    }
    path = tmp_path / "in.mp4"
    with av.open(str(path), "w") as out:
        stream = out.add_stream(codec, rate=30, options=options[codec] | {"g": "100"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for frame in rgb_frames(coded(j) for j in range(90)):
            frame.pict_type = 0
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    faulty = renamed(path, tmp_path / "faulty.mp4", {"stss": "free"})
    with av.open(str(faulty)) as media:  # a seek lands on any picture
        media.seek(2_000_000)
        assert next(media.demux(video=0)).dts * media.streams.video[0].time_base == 2
    for source, out in ((path, "right.mp4"), (faulty, "out.mp4")):
        made = normalise_video(source, tmp_path / out, start=2.0, end=2.5, crop=False)
        assert made.damaged == 0
    assert decoded(tmp_path / "out.mp4") == list(range(60, 75))
    assert (tmp_path / "out.mp4").read_bytes() == (tmp_path / "right.mp4").read_bytes()


def test_spoiled_pictures_are_counted_up_to_the_next_key_picture(tmp_path):
    source = film(tmp_path / "in.mp4", moving, bf="0")
    faulty = spoiled(source, tmp_path / "faulty.mp4", [75])
    assert normalise_video(source, tmp_path / "a.mp4", crop=False).damaged == 0
    assert normalise_video(faulty, tmp_path / "b.mp4", crop=False).damaged == 120 - 75
    assert normalise_video(faulty, tmp_path / "c.mp4", start=0.0, end=2.0, crop=False).damaged == 0
    assert (
        normalise_video(spoiled(source, tmp_path / "key.mp4", [0, 119]), tmp_path / "d.mp4", crop=False).damaged
        == 60 + 1
    )


def test_spoiled_pictures_are_told_whatever_was_read_before(tmp_path):
    faulty = spoiled(film(tmp_path / "in.mp4", moving, bf="0"), tmp_path / "faulty.mp4", [40])
    video, spans = OpenVideo(faulty), [(0.0, 1.2), (1.2, 1.8), (2.1, 3.0), (1.0, 1.5)]
    found = []
    for start, end in spans:
        times = [time for time, _ in zip_until(video.frames(start), end) if start <= time]
        found.append(sum(time in video.damaged_times for time in times))
    assert found == [0, 14, 0, 5]


def zip_until(frames, end):
    for time, frame in frames:
        if time >= end - 1e-6:
            return
        yield time, frame


def test_a_packet_that_can_not_be_decoded_costs_no_others(tmp_path):
    source, target = film(tmp_path / "in.mp4", moving, bf="0"), tmp_path / "faulty.mp4"
    data = bytearray(source.read_bytes())
    with av.open(str(source)) as media:
        places = [(packet.pos, packet.size) for packet in media.demux(video=0) if packet.size]
    for number in (60, 61):  # the key picture at 2 s, where a seek lands, and the next
        at, size = places[number]
        data[at : at + size] = b"\xff" * size
    target.write_bytes(data)
    assert [round(30 * time) for time, _ in timed_frames(target, 1.0)][:30] == list(range(30))
    made = normalise_video(target, tmp_path / "out.mp4", start=2.5, end=3.0, crop=False)
    assert made.frames == made.damaged == 15
    target.write_bytes(data[: places[0][0]] + b"\xff" * (len(data) - places[0][0]))
    with pytest.raises(UserError, match=r"faulty\.mp4: not a readable video: "):
        list(timed_frames(target))


@pytest.mark.parametrize("back", [True, False])
def test_two_films_in_one_file_are_refused_where_the_clock_restarts(tmp_path, back):
    source, joined = film(tmp_path / "in.mp4", frames=60), tmp_path / "joined.ts"
    copied(source, joined)
    copied(source, joined, shift=0.0 if back else 2.0, append=True)
    if not back:
        assert len(list(timed_frames(joined))) == 120 and read_timeline(joined).end == pytest.approx(4.0, abs=0.1)
        return
    with pytest.raises(UserError, match=r"joined\.ts: its timestamps go back, from .* to .* s.*concat"):
        normalise_video(joined, tmp_path / "out.mp4", start=0.5, end=1.0, crop=False)


def test_a_gap_of_hours_between_two_pictures_is_refused(tmp_path):
    source, joined = film(tmp_path / "in.mp4", frames=60), tmp_path / "joined.ts"
    copied(source, joined)
    copied(source, joined, shift=7200.0, append=True)
    with pytest.raises(UserError, match=r"joined\.ts: one frame is shown from \S+ to \d+"):
        normalise_video(joined, tmp_path / "out.mp4", crop=False)
    assert normalise_video(joined, tmp_path / "out.mp4", start=0.5, end=1.5, crop=False).frames == 30


@pytest.mark.parametrize(("start", "end"), [(1.0, 1e6), (1.0, 1e15), (1e300, 1e301), (1e6, 2e6)])
def test_spans_far_outside_the_video_are_refused_at_once(tmp_path, start, end):
    source = numbered_video(tmp_path / "in.mp4", 30, 2, tone(2))
    with pytest.raises(UserError, match=r"in\.mp4: the clip is .* s, but the video ends at 2\.0"):
        normalise_video(source, tmp_path / "out.mp4", start=start, end=end, crop=False)
    assert not (tmp_path / "out.mp4").exists()
