"""Of several streams the one that players play; what can't be decoded is told in one line, and costs nothing beside it."""

import errno
from fractions import Fraction

import av
import numpy as np
import pytest
from av.stream import Disposition
from scipy.io import wavfile

from dataset_tools.clips.normalise import normalise_video
from dataset_tools.lib.audio.audio_file import read_samples
from dataset_tools.lib.core.errors import UserError
from dataset_tools.lib.core.limits import AUDIO_RATES
from dataset_tools.lib.video.media import open_media, probe
from dataset_tools.lib.video.video_io import read_audio, rgb_frames, timed_frames, write_clip
from tests.helpers.footage import RATE, coded, decoded, numbered_video, renamed, tone, undecodable_audio

SECONDS = 2


def film(path, audio, *, cover=None, film_first=True, size=(64, 48)):
    """A film with audio tracks [(pitch in Hz, 0 for silence; disposition)] and perhaps a picture of one frame, a cover or not."""
    with av.open(str(path), "w") as out:
        video = out.add_stream("libx264", rate=30, options={"preset": "ultrafast", "x264-params": "threads=1"})
        still = None if cover is None else out.add_stream("mjpeg", rate=30)
        for stream in (video, still):
            if stream:
                stream.width, stream.height, stream.pix_fmt = *size, "yuvj420p" if stream is still else "yuv420p"
        if still:
            still.disposition = cover
        heard = []
        for _, disposition in audio:
            stream = out.add_stream("aac", rate=RATE, layout="stereo")
            stream.disposition = disposition
            heard.append(stream)
        if still:
            out.mux(still.encode(av.VideoFrame.from_ndarray(np.full((*size[::-1], 3), 200, np.uint8), format="rgb24")))
            out.mux(still.encode(None))
        for k, frame in enumerate(rgb_frames(coded(j) for j in range(30 * SECONDS))):
            frame.pts, frame.time_base = k, Fraction(1, 30)
            out.mux(video.encode(frame))
        out.mux(video.encode(None))
        for stream, (pitch, _) in zip(heard, audio, strict=True):
            wave = tone(SECONDS, RATE, pitch).astype(np.float32) / 32768
            for at in range(0, wave.shape[1], 1024):
                frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(wave[:, at : at + 1024]), "fltp", "stereo")
                frame.sample_rate, frame.pts, frame.time_base = RATE, at, Fraction(1, RATE)
                out.mux(stream.encode(frame))
            out.mux(stream.encode(None))
    return path


def pitch(path):
    audio, rate = read_audio(path)
    return np.abs(np.fft.rfft(audio[0].astype(float))).argmax() * rate / audio.shape[1]


DEFAULT, NONE = Disposition.default, Disposition(0)


@pytest.mark.parametrize("suffix", ["mp4", "mkv"])
@pytest.mark.parametrize(
    ("audio", "expected"),
    [
        ([(900, NONE), (440, DEFAULT)], 440),
        ([(440, DEFAULT), (900, NONE)], 440),
        ([(0, NONE), (440, DEFAULT)], 440),
        ([(900, Disposition.comment), (440, DEFAULT)], 440),
    ],
)
def test_the_default_audio_is_heard(tmp_path, suffix, audio, expected):
    source = film(tmp_path / f"in.{suffix}", audio)
    assert pitch(source) == pytest.approx(expected, abs=5)
    normalise_video(source, tmp_path / "out.mp4", crop=False, need_audio=True)
    assert pitch(tmp_path / "out.mp4") == pytest.approx(expected, abs=5)


@pytest.mark.parametrize("which", [0, 1])
def test_of_two_audio_tracks_the_one_that_can_be_decoded(tmp_path, which):
    both = [(440, DEFAULT), (440, NONE)]
    both[which] = (900, both[which][1])
    source = undecodable_audio(film(tmp_path / "in.mp4", both), tmp_path / "unknown.mp4", which)
    assert probe(source).has_audio and not probe(source).undecodable_audio
    assert pitch(source) == pytest.approx(440, abs=5)


def test_an_audio_track_that_can_not_be_decoded_alone(tmp_path):
    source = undecodable_audio(film(tmp_path / "in.mp4", [(440, DEFAULT)]), tmp_path / "unknown.mp4")
    info = probe(source)
    assert (info.has_audio, info.undecodable_audio, info.sample_rate) == (False, True, 0)
    assert read_audio(source) is None
    with pytest.raises(UserError, match=r"unknown\.mp4: FFmpeg does not know the video's audio codec; a clip needs"):
        normalise_video(source, tmp_path / "out.mp4", need_audio=True)
    assert normalise_video(source, tmp_path / "out.mp4", crop=False).audio_peak is None


def test_an_audio_track_of_which_nothing_can_be_decoded_gives_way_to_the_next(tmp_path):
    source = film(tmp_path / "in.mp4", [(900, DEFAULT), (440, NONE)])
    data = bytearray(source.read_bytes())
    with av.open(str(source)) as media:
        for packet in list(media.demux(audio=0)):
            if packet.size:
                data[packet.pos : packet.pos + packet.size] = b"\xff" * packet.size
    source.write_bytes(data)
    assert pitch(source) == pytest.approx(440, abs=5)
    assert normalise_video(source, tmp_path / "out.mp4", crop=False, audio=False).audio_peak is None


def test_audio_at_no_rate_is_none(tmp_path):
    source = film(tmp_path / "in.mkv", [(440, DEFAULT)])
    data = source.read_bytes()
    rate = b"\xb5\x88" + np.array(RATE, ">f8").tobytes()  # SamplingFrequency
    assert data.count(rate) == 1
    source.write_bytes(data.replace(rate, b"\xb5\x88" + bytes(8)))
    info = probe(source)
    assert info.has_audio == (info.sample_rate > 0)  # FFmpeg may take the rate from the packets
    assert normalise_video(source, tmp_path / "out.mp4", crop=False).frames == 60


def test_a_cover_is_not_the_film(tmp_path):
    source = film(tmp_path / "in.mkv", [(440, DEFAULT)], cover=NONE)
    with av.open(str(source)) as media:
        assert len(media.streams.video) == 2
    assert len(list(timed_frames(source))) == 60
    normalise_video(source, tmp_path / "out.mp4", crop=False)
    assert decoded(tmp_path / "out.mp4") == list(range(60))


@pytest.mark.parametrize("last", [False, True])
def test_a_cover_that_comes_first(tmp_path, last):
    """A picture flagged as attached, before the film or behind it."""
    source = tmp_path / "in.mp4"
    with av.open(str(numbered_video(tmp_path / "film.mp4", 30, 1))) as media, av.open(str(source), "w") as out:
        shown = media.streams.video[0]
        streams = {}
        for name in ("film", "cover") if last else ("cover", "film"):
            if name == "film":
                streams[name] = out.add_stream_from_template(shown)
            else:
                streams[name] = out.add_stream("png", rate=30)
                streams[name].width, streams[name].height, streams[name].pix_fmt = 64, 48, "rgb24"
                streams[name].disposition = Disposition.attached_pic
        out.mux(streams["cover"].encode(av.VideoFrame.from_ndarray(np.zeros((48, 64, 3), np.uint8), format="rgb24")))
        out.mux(streams["cover"].encode(None))
        for packet in media.demux(shown):
            if packet.size:
                packet.stream = streams["film"]
                out.mux(packet)
    assert len(list(timed_frames(source))) == 30
    normalise_video(source, tmp_path / "out.mp4", crop=False)
    assert decoded(tmp_path / "out.mp4") == list(range(30))


def test_a_picture_that_ffmpeg_does_not_know(tmp_path):
    source = renamed(
        numbered_video(tmp_path / "in.mp4", 30, 1), tmp_path / "x.mp4", {"avc1": "xyz1", "avcC": "free"}, after="stsd"
    )
    for read in (
        probe,
        lambda path: list(timed_frames(path)),
        lambda path: normalise_video(path, tmp_path / "out.mp4"),
    ):
        with pytest.raises(UserError, match=r"x\.mp4: not a readable video: FFmpeg does not know its video codec"):
            read(source)


def pieces(path, parts):
    """An ADTS-like film: MPEG-TS whose audio is [(seconds, rate, layout, pitch)], one after the other."""
    clock, made = 0.0, []
    for number, (seconds, rate, layout, hertz) in enumerate(parts):
        part = path.with_name(f"part{number}.ts")
        with av.open(str(part), "w", format="mpegts") as out:
            video = out.add_stream("mpeg2video", rate=30)
            video.width, video.height, video.pix_fmt = 64, 48, "yuv420p"
            audio = out.add_stream("mp2", rate=rate, layout=layout)
            for k in range(round(30 * seconds)):
                frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), 90, np.uint8), format="rgb24").reformat(
                    format="yuv420p"
                )
                frame.pts, frame.time_base = round(30 * clock) + k, Fraction(1, 30)
                out.mux(video.encode(frame))
            wave = tone(seconds, rate, hertz)[: 1 if layout == "mono" else 2]
            for at in range(0, wave.shape[1], 1152):
                block = np.ascontiguousarray(wave[:, at : at + 1152].T).reshape(1, -1)
                frame = av.AudioFrame.from_ndarray(block, "s16", layout)
                frame.sample_rate, frame.pts, frame.time_base = rate, round(clock * rate) + at, Fraction(1, rate)
                out.mux(audio.encode(frame))
            out.mux(video.encode(None))
            out.mux(audio.encode(None))
        clock += seconds
        made.append(part.read_bytes())
    path.write_bytes(b"".join(made))
    return path


@pytest.mark.parametrize(
    "second", [(2.0, 48000, "mono", 880.0), (2.0, 44100, "stereo", 880.0), (2.0, 32000, "mono", 880.0)]
)
def test_audio_that_changes_its_form_midway(tmp_path, second):
    source = pieces(tmp_path / "in.ts", [(2.0, 48000, "stereo", 440.0), second])
    audio, rate = read_audio(source, 0.0, 4.0)
    assert rate == 48000 and audio.shape == (2, 4 * rate)
    for at, hertz in ((0.5, 440), (2.5, 880)):
        piece = audio[0, round(at * rate) : round((at + 1) * rate)].astype(float)
        assert np.abs(np.fft.rfft(piece)).argmax() == hertz
        assert 11000 < np.abs(piece).max() < 17000  # one channel on two has half the power in each
    steps = np.abs(np.diff(np.convolve(np.abs(audio[0].astype(float)), np.ones(480) / 480, "valid")))
    assert steps[round(0.2 * rate) : round(1.8 * rate)].max() < 200


def test_a_full_disk_under_what_is_written_is_not_the_films_fault(tmp_path):
    numbered_video(tmp_path / "film.mp4", 30, 0.2)
    with pytest.raises(OSError) as err, open_media(tmp_path / "film.mp4"):
        av.error.err_check(-errno.ENOSPC, "copy.mp4")
    assert err.value.errno == errno.ENOSPC
    with (
        pytest.raises(UserError, match="film.mp4: not a readable video: Invalid data"),
        open_media(tmp_path / "film.mp4"),
    ):
        raise av.error.InvalidDataError(0, "Invalid data")


def test_packets_of_audio_that_can_not_be_decoded_are_counted(tmp_path):
    source = film(tmp_path / "in.mp4", [(440, DEFAULT)])
    assert normalise_video(source, tmp_path / "out.mp4", crop=False).sound_lost == 0
    data = bytearray(source.read_bytes())
    with av.open(str(source)) as media:
        packets = [packet for packet in media.demux(audio=0) if packet.size]
    for packet in packets[40:50]:
        data[packet.pos : packet.pos + packet.size] = b"\xff" * packet.size
    source.write_bytes(data)
    made = normalise_video(source, tmp_path / "out.mp4", crop=False)
    assert made.sound_lost == pytest.approx(10 * 1024 / RATE, abs=1e-3)
    assert normalise_video(source, tmp_path / "out.mp4", start=1.3, end=1.9, crop=False).sound_lost == 0
    audio, rate = read_audio(source)
    assert not audio[0, 42 * 1024 : 47 * 1024].any() and np.abs(audio[0, round(1.5 * rate) :]).max() > 15000


@pytest.mark.parametrize("rate", [AUDIO_RATES[0] - 1, *AUDIO_RATES, AUDIO_RATES[1] + 1])
def test_films_and_audio_files_have_the_same_limits(tmp_path, rate):
    """What is audio in a file of its own is audio in a film, too."""
    audio = np.full((1, rate), 1000, np.int16)
    write_clip(tmp_path / "a.mp4", rgb_frames(np.zeros((32, 32, 3), np.uint8) for _ in range(30)), audio, rate)
    wavfile.write(tmp_path / "a.wav", rate, audio[0])
    taken = AUDIO_RATES[0] <= rate <= AUDIO_RATES[1]
    found = read_audio(tmp_path / "a.mp4")
    assert (found[1] == rate and np.array_equal(found[0], audio)) if taken else found is None
    if taken:
        assert read_samples(tmp_path / "a.wav").rate == rate
    else:
        with pytest.raises(
            UserError, match=f"audio must have {AUDIO_RATES[0]} to {AUDIO_RATES[1]} Hz .*found {rate} Hz"
        ):
            read_samples(tmp_path / "a.wav")
