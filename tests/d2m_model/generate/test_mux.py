"""A video with new music: the picture is copied untouched, the audio is where it belongs."""

import hashlib
from contextlib import contextmanager
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import pytest

from d2m_model.generate import mux as mux_module
from d2m_model.generate.mux import mux
from dataset_tools.lib.core.errors import UserError
from dataset_tools.lib.video.upright import Upright

RATE = 22050


def write_video(path, codec="libx264", frames=48, fps=24, audio=True, **options):
    """A grey ramp of 64x48, with a tone that must not survive."""
    with av.open(str(path), "w") as out:
        picture = out.add_stream(codec, rate=fps, options=options)
        picture.width, picture.height, picture.pix_fmt = 64, 48, "yuv420p"
        tone = (
            out.add_stream("aac" if path.suffix != ".webm" else "libopus", rate=48000, layout="mono") if audio else None
        )
        for n in range(frames):
            image = np.full((48, 64, 3), 4 * n % 256, np.uint8)
            out.mux(picture.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        out.mux(picture.encode(None))
        if tone:
            wave = 0.5 * np.sin(2 * np.pi * 440 * np.arange(48000 * frames // fps) / 48000)
            for at in range(0, len(wave) - 959, 960):
                form = tone.codec_context.format.name
                block = (wave[None, at : at + 960] * (32767 if form == "s16" else 1)).astype(
                    "i2" if form == "s16" else "f4"
                )
                frame = av.AudioFrame.from_ndarray(block, format=form, layout="mono")
                frame.sample_rate, frame.pts = 48000, at
                out.mux(tone.encode(frame))
            out.mux(tone.encode(None))
    return path


def packets_and_audio(path):
    with av.open(str(path)) as media:
        shown = media.streams.video[0]
        packets = [
            (hashlib.md5(bytes(p)).hexdigest(), float(p.pts * p.time_base)) for p in media.demux(shown) if p.size
        ]
        streams = [stream.type for stream in media.streams]
        duration = media.duration / av.time_base
    with av.open(str(path)) as media:
        heard = np.concatenate([f.to_ndarray()[0] for f in media.decode(audio=0)])
        rate = media.streams.audio[0].codec_context.sample_rate
    return packets, streams, duration, heard, rate


@pytest.mark.parametrize(("source", "suffix"), [("in.mp4", ".mp4"), ("in.mkv", ".mp4"), ("in.mp4", ".mkv")])
def test_mux_copies_the_picture_and_replaces_the_audio(tmp_path, source, suffix):
    video = write_video(tmp_path / source)
    rng = np.random.default_rng(4)
    music = np.zeros(2 * RATE, np.float32)
    music[9000:9400] = 0.5 * rng.standard_normal(400)
    out = tmp_path / f"out{suffix}"
    assert mux(video, music, out) is True
    before, after = packets_and_audio(video), packets_and_audio(out)
    assert [digest for digest, _ in before[0]] == [digest for digest, _ in after[0]] and len(after[0]) == 48
    assert np.allclose([t for _, t in before[0]], [t for _, t in after[0]], atol=0.002)
    assert after[1] == ["video", "audio"] and abs(after[2] - 2.0) < 0.06
    heard, rate = after[3], after[4]
    assert rate == RATE and abs(len(heard) - len(music)) <= 2048
    lag = np.argmax(np.correlate(heard[: len(music)], music[9000:9400], "valid")) - 9000
    assert abs(lag) <= 0.001 * RATE
    assert np.abs(heard[:8000]).max() < 0.02  # nothing left of the tone
    first = out.read_bytes()
    mux(video, music, out)
    assert out.read_bytes() == first


def test_mux_delays_the_audio_with_the_picture(tmp_path):
    video = write_video(tmp_path / "in.mp4", audio=False)
    music = np.zeros(RATE, np.float32)
    music[:400] = 0.5 * np.random.default_rng(5).standard_normal(400)
    mux(video, music, tmp_path / "out.mp4", delay=0.5)
    heard = packets_and_audio(tmp_path / "out.mp4")[3]
    assert abs(np.argmax(np.correlate(heard, music[:400], "valid")) - RATE // 2) <= 0.001 * RATE


def test_mux_encodes_again_what_the_container_cannot_hold(tmp_path):
    video = write_video(tmp_path / "in.webm", codec="libvpx", frames=24, audio=False)
    out = tmp_path / "out.mp4"
    assert mux(video, np.zeros(RATE, np.float32), out) is False
    with av.open(str(out)) as media:
        assert media.streams.video[0].codec_context.name == "h264"
        times = [frame.time for frame in media.decode(video=0)]
    assert np.allclose(times, np.arange(24) / 24, atol=0.002)


def test_mux_leaves_nothing_when_it_fails(tmp_path, monkeypatch):
    video = write_video(tmp_path / "in.mp4", audio=False)
    (tmp_path / "cut.mp4").write_bytes(video.read_bytes()[:300])
    with pytest.raises(UserError, match=r"cut\.mp4: not a readable video"):
        mux(tmp_path / "cut.mp4", np.zeros(RATE, np.float32), tmp_path / "out.mp4")
    monkeypatch.setattr(mux_module, "_audio_packets", lambda *_: (_ for _ in ()).throw(KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        mux(video, np.zeros(RATE, np.float32), tmp_path / "out.mp4")
    assert {path.name for path in tmp_path.iterdir()} == {"in.mp4", "cut.mp4"}


def test_an_output_that_cannot_be_written_is_named(tmp_path):
    video = write_video(tmp_path / "in.mp4", audio=False)
    with pytest.raises(UserError, match=r"^/dev/full/x\.mp4: can't be written"):
        mux(video, np.zeros(RATE, np.float32), Path("/dev/full/x.mp4"))

    class Full:  # a target whose disk is full after the header
        def __init__(self, target):
            self.target = target

        def __getattr__(self, name):
            return getattr(self.target, name)

        def mux(self, packet):
            raise av.error.OSError(28, "No space left on device")

    opened = mux_module._opened

    @contextmanager
    def full(*arguments, **options):
        with opened(*arguments, **options) as target:
            yield Full(target)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(mux_module, "_opened", full)
        with pytest.raises(UserError, match=r"out\.mp4: can't be written: No space left"):
            mux(video, np.zeros(RATE, np.float32), tmp_path / "out.mp4")
    assert {path.name for path in tmp_path.iterdir()} == {"in.mp4"}


def mirrored(folder, codec, suffix, **options):
    """A film of white top left and black elsewhere that players show mirrored, with pixels 4/3 as wide as high."""
    path = folder / f"in{suffix}"
    with av.open(str(path), "w") as out:
        picture = out.add_stream(codec, rate=24, options=options)
        picture.width, picture.height, picture.pix_fmt = 96, 48, "yuv422p10le" if codec == "prores_ks" else "yuv420p"
        picture.codec_context.sample_aspect_ratio = Fraction(4, 3)
        picture.set_display_matrix([-65536, 0, 0, 0, 65536, 0, 0, 0, 1 << 30])
        image = np.zeros((48, 96, 3), np.uint8)
        image[:16, :16] = 255
        for _ in range(6):
            out.mux(picture.encode(av.VideoFrame.from_ndarray(image, format="rgb24")))
        out.mux(picture.encode(None))
    return path


@pytest.mark.parametrize(("codec", "suffix"), [("libx264", ".mp4"), ("prores_ks", ".mov")])
@pytest.mark.parametrize("target", [".mp4", ".mov", ".mkv"])
def test_a_mirrored_film_of_wide_pixels_is_shown_the_same(tmp_path, codec, suffix, target):
    out = tmp_path / f"out{target}"
    mux(mirrored(tmp_path, codec, suffix), np.zeros(RATE // 4, np.float32), out)
    with av.open(str(out)) as media:
        stream = media.streams.video[0]
        assert stream.sample_aspect_ratio == Fraction(4, 3)
        frame = next(media.decode(stream))
    image = Upright(1.0)(frame).to_ndarray(format="gray")
    assert image.shape == (48, 96) and image[8, -8] > 200 and image[8, 8] < 60


def test_a_turned_film_that_is_encoded_again_stands_upright_and_keeps_its_colours(tmp_path):
    path = tmp_path / "in.mov"
    with av.open(str(path), "w") as out:
        picture = out.add_stream("prores_ks", rate=24)
        picture.width, picture.height, picture.pix_fmt = 96, 48, "yuv422p10le"
        picture.set_display_rotation(-90)
        picture.codec_context.sample_aspect_ratio = Fraction(4, 3)
        codec = picture.codec_context
        codec.color_primaries, codec.color_trc, codec.colorspace, codec.color_range = 9, 18, 9, 1
        image = np.zeros((48, 96, 3), np.uint8)
        image[:16, :16] = 255
        for _ in range(6):
            frame = av.VideoFrame.from_ndarray(image, format="rgb24").reformat(format="yuv422p10le")
            frame.color_primaries, frame.color_trc, frame.colorspace, frame.color_range = 9, 18, 9, 1
            out.mux(picture.encode(frame))
        out.mux(picture.encode(None))
    assert mux(path, np.zeros(RATE // 4, np.float32), tmp_path / "out.mp4") is False
    with av.open(str(tmp_path / "out.mp4")) as media:
        stream = media.streams.video[0]
        frame = next(media.decode(stream))
        assert stream.sample_aspect_ratio == Fraction(3, 4)
    assert (frame.color_primaries, frame.color_trc, frame.colorspace) == (9, 18, 9)
    image = frame.to_ndarray(format="gray")
    assert image.shape == (96, 48) and image[8, -8] > 200 and image[8, 8] < 60


def test_a_film_whose_first_picture_is_damaged_is_copied(tmp_path):
    path = write_video(tmp_path / "in.mp4", frames=24, g="12")
    data = bytearray(path.read_bytes())
    with av.open(str(path)) as media:
        first = next(media.demux(video=0))
    data[first.pos : first.pos + first.size] = b"\xff" * first.size
    path.write_bytes(data)
    assert mux(path, np.zeros(RATE, np.float32), tmp_path / "out.mp4") is True
    assert [digest for digest, _ in packets_and_audio(path)[0]] == [
        digest for digest, _ in packets_and_audio(tmp_path / "out.mp4")[0]
    ]


def test_pictures_stamped_as_decoded_are_put_in_order(tmp_path):
    path = tmp_path / "in.avi"
    write_video(path, frames=24, audio=False, bf="3", **{"x264-params": "b-adapt=0"})
    assert mux(path, np.zeros(RATE, np.float32), tmp_path / "out.mp4") is False
    with av.open(str(tmp_path / "out.mp4")) as media:
        shown = [(frame.time, frame.to_ndarray(format="gray").mean()) for frame in media.decode(video=0)]
    times, light = np.array(shown).T
    assert np.allclose(times, np.arange(24) / 24, atol=0.002) and (np.diff(light) > 0).all()
