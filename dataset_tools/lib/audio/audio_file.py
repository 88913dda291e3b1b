"""Read untrusted audio files of any format that libsndfile knows, from the first sample on, within `limits`.

The length in a file's header is not trusted: streaming encoders write none or the largest possible one, and some codecs
can't seek. So samples are read block by block until there are no more.
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
"""A header that claims at least this many samples means that the length is unknown."""
CHAINABLE = ("MP3", "OGG")
"""Formats in which the rate or the number of channels can change midway, where libsndfile silently stops."""
PADDING_SECONDS = 0.5
"""Seconds, in addition to 2 %, by which compressed audio may be shorter than its packets: encoders pad both ends."""
MAX_MP3_BYTES_PER_SECOND = 640_000 // 8
"""Highest bit rate of MP3, in bytes per second. It is checked because decoders find a frame or two in nearly any binary file."""
TAG_BYTES = 4096
"""Bytes that an MP3 file may have after its audio."""
UNKNOWN_FORMAT = "not a readable audio file: no audio in a known format"


class Samples(NamedTuple):
    """Content of an audio file."""

    audio: np.ndarray
    """(S, channels) as in the file, or (S,) if read as mono."""
    rate: int
    """Samples per second."""
    channels: int
    """Number of channels in the file."""
    kind: str
    """libsndfile's names of format and encoding, such as 'WAV PCM_16'."""
    lone_channel: int | None = None
    """Index of the channel that was taken as mono because the channels cancel in their mean; None if the mean was taken."""


def read_samples(path: Path, *, mono: bool = False, dtype: str = "float32", most: int | None = None) -> Samples:
    """Read the samples of an audio file. Full scale of float32 is 1.

    mono: mix to one channel as `mono.to_mono`, in float32; takes less memory if there are many channels.
    dtype: 'float32' or 'int16'.
    most: stop after this many samples. None: read all, and refuse audio longer than `limits`.

    Raises Unreadable for an unknown format, a damaged file, audio beyond `limits`, a file without samples, a format that
    changes midway, and samples that are NaN, infinite or too large; UserError for a missing file.
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
            raise Unreadable(path, "holds no audio (0 samples); write it again or leave it out")
        if most is None and count > longest:
            raise Unreadable(path, f"lasts over {longest / rate:.0f} s at {rate} Hz, longer than allowed; cut it")
        if count != most and file.format in CHAINABLE:
            _check_complete(Path(path), file.format, count / rate)
    lone_channel = mixer.find_lone_channel()
    if lone_channel is not None:
        with open_audio(path) as file:
            blocks = [block[:, lone_channel].copy() for block in _read_blocks(file, dtype, count)]
    return Samples(np.concatenate(blocks), rate, channels, kind, lone_channel)


@contextmanager
def open_audio(path: Path) -> Iterator["SoundFile"]:
    """Open an audio file for reading forwards.

    Errors of libsndfile, here or in the block, become Unreadable. Raises Unreadable also for a rate or a number of channels
    beyond `limits`.
    """
    import soundfile

    class Forwards(soundfile.SoundFile):
        """Never seeks: some codecs can't, and the length may be unknown."""

        def seekable(self) -> bool:
            return False

    path = limits.check_regular_file(path)
    if path.suffix.lower() == ".raw":  # soundfile would read any content as samples without a header
        raise Unreadable(path, UNKNOWN_FORMAT)
    name = os.fsencode(path)
    try:
        with Forwards(name) as file:
            least, most = limits.AUDIO_RATES
            if not least <= file.samplerate <= most or not 1 <= file.channels <= limits.AUDIO_CHANNELS:
                found = f"{file.samplerate} Hz, {file.channels} channels"
                raise Unreadable(
                    path,
                    f"audio must have {least} to {most} Hz and 1 to {limits.AUDIO_CHANNELS} channels, found {found}",
                )
            yield file
    except soundfile.SoundFileError as err:
        if "does not exist" in str(err):  # libsndfile's error for an MP3 without any frame
            raise Unreadable(path, UNKNOWN_FORMAT) from None
        reason = limits.printable(str(err).replace(repr(name), "it"))
        raise Unreadable(path, f"not a readable audio file: {reason}") from None


def _read_blocks(file: "SoundFile", dtype: str, most: int) -> Iterator[np.ndarray]:
    """Yield blocks (n, channels) up to the end of the audio or `most` samples."""
    left = min(most, file.frames) if file.frames < UNKNOWN_LENGTH else most
    while left > 0:
        block = file.read(min(left, BLOCK_SAMPLES), dtype=dtype, always_2d=True)
        yield block
        left = left - len(block) if len(block) == min(left, BLOCK_SAMPLES) else 0


def _check_complete(path: Path, kind: str, seconds: float) -> None:
    """Raise Unreadable for a compressed file of which libsndfile read only the part before a change of format, and for one that is
    mostly something other than audio."""
    import av

    if kind == "MP3" and (size := _size_without_tag(path)) > MAX_MP3_BYTES_PER_SECOND * seconds + TAG_BYTES:
        raise Unreadable(
            path,
            f"not a readable audio file: {seconds:.2f} s of MP3 in {size} bytes, most of which must be something else; write it again",
        )
    try:
        with av.open(str(path), metadata_errors="ignore") as container:
            stream = container.streams.audio[0]
            stamps = [packet.pts for packet in container.demux(stream) if packet.pts is not None]
            there = float((max(stamps) - min(stamps)) * stream.time_base) if stamps else 0.0
    except av.error.PatchWelcomeError:  # FFmpeg's error for Ogg that continues with other headers
        raise Unreadable(path, f"changes its format after {seconds:.2f} s; write it again in one format") from None
    except (av.error.FFmpegError, LookupError, UnicodeDecodeError):
        return  # FFmpeg can't read it, but libsndfile has
    if there > 1.02 * seconds + PADDING_SECONDS:
        raise Unreadable(
            path,
            f"changes its format after {seconds:.2f} of {there:.2f} s, or is damaged there; write it again in one format",
        )


def _size_without_tag(path: Path) -> int:
    """Size of an MP3 file in bytes, without the ID3v2 tag at its start, which may contain images."""
    with open(path, "rb") as file:
        head = file.read(10)
    tag = 10 + sum((byte & 127) << shift for byte, shift in zip(head[6:], (21, 14, 7, 0))) if head[:3] == b"ID3" else 0
    return Path(path).stat().st_size - tag
