"""Films: MP4, MOV, WebM, MKV, AVI, TS and others of half a second, whole and damaged."""

import io
from fractions import Fraction
from functools import cache
from pathlib import Path

import av
import numpy as np
from hypothesis import strategies as st

from dataset_tools.clips.normalise import normalise_video
from dataset_tools.lib.video.decoding import timed_frames
from dataset_tools.lib.video.media import probe, read_timeline
from dataset_tools.lib.video.video_io import read_audio
from tests.fuzz.case import Case, promise
from tests.fuzz.mutation import damaged

KINDS = {
    "mp4": ("mp4", "libx264", "aac", ".mp4"), "mov": ("mov", "mpeg4", "pcm_s16le", ".mov"), "webm": ("webm", "libvpx", "libopus", ".webm"),
    "mkv": ("matroska", "libx264", "flac", ".mkv"), "avi": ("avi", "mpeg4", "mp2", ".avi"), "ts": ("mpegts", "mpeg2video", "mp2", ".ts"),
    "flv": ("flv", "flv", "pcm_s16le", ".flv"), "mute": ("mp4", "libx264", "", ".mp4"), "gif": ("gif", "gif", "", ".gif"),
    "ogg": ("ogg", "libvpx", "libopus", ".ogv"), "audio": ("mp4", "", "aac", ".mp4"),
}  # fmt: skip
FRAMES, SIZE = 12, (64, 48)
LIST = b"#EXTM3U\n#EXT-X-TARGETDURATION:1\n#EXTINF:1,\n/etc/passwd\n#EXT-X-ENDLIST\n"


def film(into: Path, out: Path) -> None:
    path = next(into.iterdir())
    info = probe(path)
    promise(
        info.width > 0 and info.height > 0 and info.pixel_aspect > 0,
        f"a picture has a size: {info.width} x {info.height}, pixels {info.pixel_aspect}",
    )
    promise(
        np.isfinite([info.pixel_aspect, info.fps, info.seconds]).all() and info.fps >= 0 and info.seconds >= 0,
        "fps and seconds are real",
    )
    found = normalise_video(path, out / "clip.mp4", max_height=240)
    again = probe(out / "clip.mp4")
    promise(
        (again.width, again.height) == (found.width, found.height) and again.fps == 30,
        "the clip is as large as is said, at 30 fps",
    )
    promise(found.width % 2 == 0 and found.height % 2 == 0 and found.height <= 240, "even sizes, within max_height")
    times = [time for time, _ in timed_frames(out / "clip.mp4")]
    promise(len(times) == found.frames > 0, f"{found.frames} frames are said, {len(times)} are there")
    promise(found.frames <= round(30 * read_timeline(path).end) + 1, "no longer than the film")
    audio = read_audio(out / "clip.mp4")
    promise((audio is None) == (found.audio_peak is None), "audio where there was audio")
    if audio is not None:
        samples, rate = audio
        promise(abs(samples.shape[1] / rate - found.frames / 30) < 0.01, "audio is as long as the picture")
        promise(0 <= found.audio_peak <= 1, f"peak {found.audio_peak}")


def span(into: Path, out: Path) -> None:
    start, end = (float(word) for word in (into / "span.txt").read_text().split())
    path = next(path for path in into.iterdir() if path.stem == "film")
    found = normalise_video(path, out / "clip.mp4", start=start, end=end, max_height=240)
    promise(0 < found.frames <= 30 * (end - start) + 1, f"{found.frames} frames of {start} to {end} s")


READERS = {"film": film, "span": span}


@cache
def _valid(kind: str) -> bytes:
    container, video, audio, _ = KINDS[kind]
    out = io.BytesIO()
    with av.open(out, "w", format=container) as file:
        picture = stream = None
        if video:
            picture = file.add_stream(video, rate=30)
            picture.width, picture.height = SIZE
            picture.pix_fmt = "rgb8" if kind == "gif" else "yuv420p"
            picture.codec_context.thread_count = 1
        if audio:
            stream = file.add_stream(audio, rate=44100 if kind == "flv" else 48000)
            stream.codec_context.layout = "stereo"
            stream.codec_context.open()
        for n in range(FRAMES if video else 0):
            image = np.full((SIZE[1], SIZE[0], 3), 40, np.uint8)
            image[10:30, 4 * n : 4 * n + 16] = (250, 200, 20)
            frame = av.VideoFrame.from_ndarray(image, format="rgb24").reformat(format=picture.pix_fmt)
            frame.pts, frame.time_base = n, Fraction(1, 30)
            file.mux(picture.encode(frame))
        if video:
            file.mux(picture.encode(None))
        if audio:
            rate = stream.codec_context.sample_rate
            time = np.arange(rate * FRAMES // 30) / rate
            tone = np.repeat((8000 * np.sin(2 * np.pi * 330 * time)).astype(np.int16)[None], 2, axis=0)
            frame = av.AudioFrame.from_ndarray(np.ascontiguousarray(tone.T).reshape(1, -1), "s16", "stereo")
            frame.sample_rate, frame.pts = rate, 0
            fit = av.AudioResampler(
                stream.codec_context.format, "stereo", rate, frame_size=stream.codec_context.frame_size or 1024
            )
            for part in [*fit.resample(frame), *fit.resample(None)]:
                file.mux(stream.encode(part))
            file.mux(stream.encode(None))
    return out.getvalue()


@st.composite
def cases(draw) -> Case:
    kind = draw(st.sampled_from(tuple(KINDS)))
    content, suffix = _valid(kind), KINDS[kind][3]
    act = draw(st.integers(0, 19))
    if act == 0:
        content = draw(st.sampled_from((LIST, b"ffconcat version 1.0\nfile /etc/passwd\n", content + content, b"")))
    elif act > 2:
        content = draw(damaged(content, most=8))
    if not draw(st.integers(0, 9)):
        suffix = draw(st.sampled_from((".mp4", ".mov", ".webm", ".avi", ".m3u8", ".txt", ".jpg")))
    film = {f"film{suffix}": content}
    if draw(st.integers(0, 4)):
        return Case("film", film)
    start, end = (
        draw(st.sampled_from((0.0, 0.1, 0.2, 0.39, 0.5, 10.0, 1e6, 1e15, 1e300, -1.0, 1e-300))) for _ in range(2)
    )
    return Case("span", film | {"span.txt": f"{start} {end}".encode()})
