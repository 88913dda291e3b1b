"""Small videos whose right answer is known: numbered frames, a flash with a click, a picture between panels."""

import struct
from fractions import Fraction
from pathlib import Path

import av
import numpy as np

from dataset_tools.lib.video.video_io import read_rgb, rgb_frames, write_clip

BITS, CELL = 12, 16
RATE = 44100


def coded(number: int) -> np.ndarray:
    """(48, 64, 3) picture that shows `number` in binary, one 16 px cell a bit."""
    bits = (number >> np.arange(BITS)) & 1
    cells = np.where(bits, 220, 30).astype(np.uint8).reshape(3, 4)
    return np.repeat(np.kron(cells, np.ones((CELL, CELL), np.uint8))[..., None], 3, axis=2)


def decoded(path: Path) -> list[int]:
    """The numbers that a video of coded pictures shows."""
    return [number_of(image) for image in read_rgb(path)]


def number_of(image: np.ndarray) -> int:
    """The number that a coded picture shows."""
    cells = image[: 3 * CELL, : 4 * CELL].mean(axis=2).reshape(3, CELL, 4, CELL).mean(axis=(1, 3))
    return int(((cells.ravel() > 125) << np.arange(BITS)).sum())


def tone(seconds: float, rate: int = RATE, pitch: float = 440.0) -> np.ndarray:
    """(2, N) int16 sine at half of full scale."""
    wave = 16000 * np.sin(2 * np.pi * pitch * np.arange(round(seconds * rate)) / rate)
    return np.stack([wave, wave]).astype(np.int16)


def click(seconds: float, at: float, rate: int = RATE) -> np.ndarray:
    """(2, N) int16 silence with 5 ms of a loud 2 kHz tone that begins at `at` seconds."""
    audio = np.zeros((2, round(seconds * rate)), np.int16)
    first, count = round(at * rate), round(0.005 * rate)
    audio[:, first : first + count] = 20000 * np.sin(2 * np.pi * 2000 * (np.arange(count) + 1) / rate)
    return audio


def numbered_video(path: Path, fps: int, seconds: float, audio: np.ndarray | None = None, rate: int = RATE) -> Path:
    """A video whose frame j shows the number j; sparse key frames and B-frames, as in downloaded videos."""
    path.parent.mkdir(parents=True, exist_ok=True)
    pictures = rgb_frames(coded(j) for j in range(round(fps * seconds)))
    options = {"preset": "ultrafast", "crf": "18", "g": "250", "bf": "2", "x264-params": "threads=1"}
    write_clip(path, pictures, audio, rate, fps=fps, audio_codec="aac", options=options)
    return path


def timed_video(path: Path, milliseconds: list[int], rotation: int = 0, picture=coded) -> Path:
    """A silent video with a frame at each time stamp."""
    with av.open(str(path), "w") as out:
        stream = out.add_stream("libx264", rate=30, options={"preset": "ultrafast", "crf": "10"})
        stream.time_base = stream.codec_context.time_base = Fraction(1, 1000)
        frames = list(rgb_frames(picture(j) for j in range(len(milliseconds))))
        stream.width, stream.height, stream.pix_fmt = frames[0].width, frames[0].height, "yuv420p"
        if rotation:
            stream.set_display_rotation(rotation)
        for frame, at in zip(frames, milliseconds, strict=True):
            frame.pts, frame.time_base, frame.pict_type = at, Fraction(1, 1000), 0
            out.mux(stream.encode(frame))
        out.mux(stream.encode(None))
    return path


def renamed(path: Path, target: Path, boxes: dict[str, str], after: str = "moov") -> Path:
    """A copy of an MP4 with boxes of other names, none longer or shorter: what is called 'free' is not read."""
    data = bytearray(path.read_bytes())
    for name, other in boxes.items():
        at = data.index(name.encode(), data.index(after.encode()))
        data[at : at + 4] = other.encode()
    target.write_bytes(data)
    return target


def undecodable_audio(path: Path, target: Path, which: int = 0) -> Path:
    """A copy of an MP4 whose audio track `which` is in a coding that FFmpeg does not know."""
    data = bytearray(path.read_bytes())
    at = -1
    for _ in range(which + 1):
        at = data.index(b"mp4a", at + 1)
    data[at : at + 4] = b"apac"
    at = data.index(b"esds", at)  # else the codec is taken from there
    data[at : at + 4] = b"free"
    target.write_bytes(data)
    return target


def with_matrix(path: Path, target: Path, matrix: tuple[float, float, float, float]) -> Path:
    """A copy of an MP4 whose picture, its first track, has the display matrix a b / c d."""
    data = bytearray(path.read_bytes())
    a, b, c, d = (round(v * 65536) for v in matrix)
    at = data.index(b"tkhd") + 44
    data[at : at + 36] = struct.pack(">9i", a, b, 0, c, d, 0, 0, 0, 1 << 30)
    target.write_bytes(data)
    return target


def spoiled(path: Path, target: Path, packets: list[int]) -> Path:
    """A copy in which a third of the bytes of these packets of the picture, counted in order of decoding, is noise: sizes and
    time stamps are whole."""
    data, noise = bytearray(path.read_bytes()), np.random.default_rng(1)
    with av.open(str(path)) as media:
        places = [(packet.pos, packet.size) for packet in media.demux(video=0) if packet.size]
    for number in packets:
        at, size = places[number]
        data[at + size // 2 : at + size * 5 // 6] = noise.integers(
            0, 256, size * 5 // 6 - size // 2, np.uint8
        ).tobytes()
    target.write_bytes(data)
    return target


def moving(number: int) -> np.ndarray:
    """(96, 128, 3) picture of noise that moves: every packet has something to lose."""
    ground = np.random.default_rng(0).integers(0, 255, (96, 128)).astype(np.uint8)
    return np.repeat(np.roll(ground, (3 * number, 2 * number), axis=(0, 1))[..., None] // 2 + 60, 3, axis=2)


def with_edits(path: Path, target: Path, edits: int) -> Path:
    """A copy of an MP4 each of whose tracks has so many edits, all of them its beginning."""
    target.write_bytes(_with_edits(path.read_bytes(), edits))
    return target


def _with_edits(data: bytes, edits: int) -> bytes:
    made, at = b"", 0
    while at < len(data):
        size, kind = struct.unpack(">I4s", data[at : at + 8])
        body = data[at + 8 : at + size]
        if kind in (b"moov", b"trak"):
            body = _with_edits(body, edits)
        elif kind == b"edts":
            body = (
                struct.pack(">I4sII", 16 + 12 * edits, b"elst", 0, edits) + struct.pack(">IiI", 1, 0, 1 << 16) * edits
            )
        made, at = made + struct.pack(">I4s", 8 + len(body), kind) + body, at + size
    return made
