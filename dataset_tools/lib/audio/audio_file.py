"""Sounds of any format that libsndfile reads, from anywhere: from the first sample on, never longer than `limits` says.

What a file claims of its length is not believed: streaming encoders write none or the largest, and some codecs can't be
sought in. So samples are read one block after the other until there are no more.
"""

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from dataset_tools.lib.audio.mono import MonoMixer
from dataset_tools.lib.core import limits
from dataset_tools.lib.core.errors import Unreadable

if TYPE_CHECKING:
    from soundfile import SoundFile

BLOCK_SAMPLES = 1 << 16
UNKNOWN_LENGTH = 1 << 62
"""Samples from which a claimed length is none."""
CHAINABLE = ("MP3", "OGG")
"""Formats whose files can go on in another rate or number of channels, where libsndfile ends without a word."""
PADDING_SECONDS = 0.5
"""Seconds, besides a fiftieth, by which a compressed sound may be shorter than its packets: encoders pad both ends."""
MAX_MP3_BYTES_PER_SECOND = 640_000 // 8
"""Bytes a second that no MP3 has more of. A decoder finds a frame or two in nearly any binary file that is called .mp3."""
TAG_BYTES = 4096
"""Bytes that an MP3 may have after its sound."""
UNKNOWN_FORMAT = "not a readable sound file: no sound in a known format"


class Samples(NamedTuple):
    """A sound as its file has it."""

    audio: np.ndarray
    """(S, channels) as the file has it, or (S,) in one channel."""
    rate: int
    """Samples a second."""
    channels: int
    kind: str
    """libsndfile's names of format and coding, such as 'WAV PCM_16'."""
    lone_channel: int | None = None
    """The channel that is heard, where it is in one and the mean of all would lose it."""


def read_samples(path: Path, *, mono: bool = False, dtype: str = "float32", most: int | None = None) -> Samples:
    """The samples of a sound file, full scale 1 in float32.

    mono: in one channel as `mono.to_mono` says, float32, which takes less memory where there are many. dtype: 'float32' or
    'int16'. most: samples after which reading ends, however long the sound is; without it a sound longer than `limits` is refused.
    Raises Unreadable for no sound in a known format, a damaged one, one beyond `limits`, one without samples, one whose format
    changes midway, and samples that are NaN, infinite or absurdly large; UserError for no file.
    """
    with open_audio(path) as file:
        rate, channels, kind = file.samplerate, file.channels, f"{file.format} {file.subtype}"
        longest = min(limits.AUDIO_SAMPLES // (1 if mono else channels), limits.AUDIO_SECONDS * rate)
        blocks, count, mixer = [], 0, MonoMixer(rate)
        for block in _read_blocks(file, dtype, longest + 1 if most is None else most):
            if dtype == "float32" and not np.abs(block).max(initial=0) <= limits.LOUDEST:
                raise Unreadable(
                    path,
                    f"holds samples that are NaN, infinite or over {limits.LOUDEST:g}; write it again within -1..1",
                )
            count += len(block)
            blocks.append(mixer.add(block.T) if mono else block)
        if not count:
            raise Unreadable(path, "holds no sound (0 samples); write it again or leave it out")
        if most is None and count > longest:
            raise Unreadable(path, f"lasts over {longest / rate:.0f} s at {rate} Hz, more than is read at once; cut it")
        if count != most and file.format in CHAINABLE:
            _check_complete(Path(path), file.format, count / rate)
    lone_channel = mixer.find_lone_channel()
    if lone_channel is not None:
        with open_audio(path) as file:
            blocks = [block[:, lone_channel].copy() for block in _read_blocks(file, dtype, count)]
    return Samples(np.concatenate(blocks), rate, channels, kind, lone_channel)


@contextmanager
def open_audio(path: Path) -> Iterator["SoundFile"]:
    """A sound file to be read forwards only. What libsndfile can't read, here or in the block, becomes Unreadable; a rate or
    number of channels beyond `limits` too. Other errors of the block stay what they are."""
    import soundfile

    class Forwards(soundfile.SoundFile):
        """Is never sought in: some codecs can't be, and a length may not be known."""

        def seekable(self) -> bool:
            return False

    path = limits.check_regular_file(path)
    if path.suffix.lower() == ".raw":  # to soundfile samples without a header, whatever is in it
        raise Unreadable(path, UNKNOWN_FORMAT)
    name = os.fsencode(path)
    try:
        with Forwards(name) as file:
            least, most = limits.AUDIO_RATES
            if not least <= file.samplerate <= most or not 1 <= file.channels <= limits.AUDIO_CHANNELS:
                found = f"{file.samplerate} Hz, {file.channels} channels"
                raise Unreadable(
                    path, f"a sound has {least} to {most} Hz and 1 to {limits.AUDIO_CHANNELS} channels, found {found}"
                )
            yield file
    except soundfile.SoundFileError as err:
        if "does not exist" in str(err):  # so libsndfile says of an MP3 without any frame
            raise Unreadable(path, UNKNOWN_FORMAT) from None
        reason = limits.printable(str(err).replace(repr(name), "it"))
        raise Unreadable(path, f"not a readable sound file: {reason}") from None


def _read_blocks(file: "SoundFile", dtype: str, most: int) -> Iterator[np.ndarray]:
    """Blocks (n, channels) up to the end of the sound, or `most` samples."""
    left = min(most, file.frames) if file.frames < UNKNOWN_LENGTH else most
    while left > 0:
        block = file.read(min(left, BLOCK_SAMPLES), dtype=dtype, always_2d=True)
        yield block
        left = left - len(block) if len(block) == min(left, BLOCK_SAMPLES) else 0


def _check_complete(path: Path, kind: str, seconds: float) -> None:
    """Refuse a compressed file that libsndfile read as far as its format stayed the same, and one that is hardly a sound."""
    import av

    if kind == "MP3" and (size := _size_without_tag(path)) > MAX_MP3_BYTES_PER_SECOND * seconds + TAG_BYTES:
        raise Unreadable(
            path,
            f"not a readable sound file: {seconds:.2f} s of MP3 in {size} bytes, most of which must be something else; write it again",
        )
    try:
        with av.open(str(path), metadata_errors="ignore") as container:
            stream = container.streams.audio[0]
            stamps = [packet.pts for packet in container.demux(stream) if packet.pts is not None]
            there = float((max(stamps) - min(stamps)) * stream.time_base) if stamps else 0.0
    except av.error.PatchWelcomeError:  # FFmpeg's word for Ogg that goes on with other headers
        raise Unreadable(path, f"changes its format after {seconds:.2f} s; write it again as one sound") from None
    except (av.error.FFmpegError, LookupError, UnicodeDecodeError):
        return  # another opinion, but libsndfile has read it
    if there > 1.02 * seconds + PADDING_SECONDS:
        raise Unreadable(
            path,
            f"changes its format after {seconds:.2f} of {there:.2f} s, or is damaged there; write it again as one sound",
        )


def _size_without_tag(path: Path) -> int:
    """Size of an MP3 file without the ID3v2 tag at its start, which may hold pictures."""
    with open(path, "rb") as file:
        head = file.read(10)
    tag = 10 + sum((byte & 127) << shift for byte, shift in zip(head[6:], (21, 14, 7, 0))) if head[:3] == b"ID3" else 0
    return Path(path).stat().st_size - tag
