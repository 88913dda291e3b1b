"""Limits for untrusted files, all in one place, and the first check of any such file.

A file that is larger, deeper or longer than its limit is refused in one line before it is unpacked, so that no file makes a
stage hang or run out of memory. Readers of foreign formats read their bytes with `read_bytes` and take their limits from here.
"""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dataset_tools.lib.core.addresses import is_remote, reach
from dataset_tools.lib.core.errors import UserError

# Texts: params.yaml, card.yaml, rows and manifests
YAML_BYTES, YAML_DEPTH, YAML_VALUES = 256 << 10, 16, 20_000
"""Of one file: bytes, depth of nesting, values (an aliased value counts each time it is used)."""
CSV_BYTES, CSV_ROWS, CELL = 32 << 20, 200_000, 10_000
"""Bytes and rows of one file; letters of one cell."""
WHOLE = 2**63 - 1
"""Largest absolute value of an integer in a table or a parameter: 64 bits."""
MAX_SHOWN = 120
"""Letters of an untrusted value that a message repeats."""

# Annotation sheets
SHEET_BYTES, SHEET_UNPACKED, SHEET_PARTS = 20 << 20, 24 << 20, 1000
"""Bytes of the file; bytes of an XLSX file's parts together, without pictures, which are not opened; number of parts."""
SHEET_STRINGS, SHEET_PART = 8 << 20, 1 << 20
"""Bytes of the part with the cells' texts; bytes of a part without cells (styles, names)."""
SHEET_ROWS, SHEET_COLUMNS, SHEET_CELL = 10_000, 50, 2_000
"""Rows and columns of one sheet; letters of one cell."""

# Times, counts and sizes in any file
VIDEO_SECONDS, CLIP_SECONDS = 24 * 3600, 3600
"""Longest compilation, longest clip."""
DANCERS, TEMPO, LEAST_SIDE, SIDE = 64, 1000.0, 16, 8192
"""Dancers in a clip; beats per minute; least side of a video frame and largest side of any image, in px."""
TEXT = 1000
"""Letters of a name that becomes no path: a genre, a song's title, the source of a stream."""

# Downloads (the limit for the size of a video is the parameter download.max_gb)
PAGE_BYTES = 64 << 10
"""Bytes read of a web page that was sent instead of a video: enough for its message."""
ANSWER_BYTES, FRAGMENTS, MANIFEST_FRAGMENTS = 64 << 20, 200_000, 1_000_000
"""Bytes of a web page, a playlist or a manifest; fragments of a playlist; fragments of all formats of a manifest together."""
READ_TIMEOUTS, REDIRECTS, FETCH_SECONDS = 10, 20, 24 * 3600
"""Longest read of an answer, as a multiple of download.socket_timeout (which bounds only the time between two bytes); pages that refer
to another one before the video; longest download of one video, in seconds."""

# Videos (for the side of their frames see above, for the rate of their audio below)
PIXEL_ASPECT, STANDSTILL = 8.0, 60.0
"""Width of a pixel over its height, or the reverse (the widest in use is 2); longest time that one frame is shown, in seconds."""

VIDEO_TRACKS, VIDEO_EDITS, VIDEO_PACKETS = 200, 1000, 20_000_000
"""Tracks of an MP4 file; edits of a track (FFmpeg builds an index of frames for each when it opens the file); packets of all streams
together (a day at 60 fps with audio has half as many)."""
SCAN_SECONDS, SCAN_BYTES_PER_SECOND, SCAN_MEMORY = 60.0, 2e6, 4 << 30
"""Time for a scan of all packets of a file: these seconds, and one more for so many bytes of the file; memory for the scan, in bytes."""

# Annotations of AIST++, segments of the released layout, pins of weights
ANNOTATION_BYTES, SEGMENT_BYTES, PINS_BYTES = 64 << 20, 4 << 20, 1 << 20
"""Bytes of an annotation file (the published ones have at most a sixth of it); of one of the three files of a 2 s segment; of pins.csv."""

# Packs
PACK_INDEX_BYTES, PACKED_FILE_BYTES = 1 << 30, 16 << 30
"""Bytes of packs.csv (of a million clips: about 120 MB); of one file in a pack."""

# Shards
SHARD_CLIPS, SHARD_PEAK = 100_000, 4.0
"""Clips of one file; largest absolute sample of their audio, where full scale is 1: resampling overshoots it a little."""

# Arrays, networks, audio, scores and JSON
ZIP_PARTS, ARRAY_BYTES, ARRAY_AXES = 10_000, 256 << 20, 32
"""Parts of a zip archive; bytes of arrays unpacked from one; axes of an array."""
TENSOR_BYTES, TENSOR_PARTS, TENSOR_STEPS, TENSOR_NEST = 16 << 30, 200_000, 1_000_000, 10_000
"""Of a file of torch.save: bytes; tensors; opcodes of its pickle (and 10 times as many bytes); values in nested tuples."""
AUDIO_SECONDS, AUDIO_SAMPLES = CLIP_SECONDS, 1800 * 48_000
"""Longest audio; most samples, counted over all channels that are kept."""
AUDIO_RATES, AUDIO_CHANNELS, LOUDEST = (1000, 768_000), 256, 2.0**31
"""Samples per second, least and most; channels; largest absolute sample (of 32-bit samples that were not scaled to 1)."""
MIDI_BYTES, MIDI_SECONDS, MIDI_BARS = 1 << 20, 3600.0, 100_000
"""Of one score."""
JSON_BYTES, JSON_DEPTH, JSON_LISTS, JSON_DICTS, JSON_VALUES = 256 << 20, 64, 1 << 22, 1 << 20, 1 << 24
"""Of one file: bytes, unless its reader asks for fewer; depth of nesting; number of lists, objects and values."""


def check_regular_file(path: Path, most: int | None = None) -> Path:
    """Return `path` if it is a regular file of at most `most` bytes (None: of any size).

    Raises UserError for a missing or unreadable file, a folder, a pipe or device (reading it could block), circular links and
    a file that is too large.
    """
    path = Path(path)
    with _as_user_error(path):
        _check_file(path, path.stat(), most)
    return path


def read_bytes(path: Path, most: int) -> bytes:
    """The bytes of a regular file or of a file at an address, never more than `most`. Raises UserError as `check_regular_file`, and for a
    file that can't be read."""
    if is_remote(path):
        with reach(path), path.open("rb") as remote:
            data = remote.read(most + 1)
        _check_size(path, len(data), most)
        return data
    without_blocking = lambda name, flags: os.open(name, flags | os.O_NONBLOCK)  # it may be a pipe
    with _as_user_error(path):
        with open(path, "rb", opener=without_blocking) as file:
            _check_file(path, os.fstat(file.fileno()), most)
            data = file.read(most + 1)
        _check_size(path, len(data), most)  # the file may grow meanwhile, and some special files claim to be empty
    return data


@contextmanager
def _as_user_error(path: Path) -> Iterator[None]:
    """Turn errors of the operating system about `path` into UserError."""
    try:
        yield
    except UserError:
        raise
    except IsADirectoryError:
        raise UserError(f"{path}: a folder, not a file") from None
    except (FileNotFoundError, NotADirectoryError):
        raise UserError(f"{path}: file not found") from None
    except ValueError:  # a NUL in the name
        raise UserError(f"{str(path)[:MAX_SHOWN]!a}: not a valid file name") from None
    except OSError as err:
        raise UserError(f"{path}: {err.strerror}") from None


def _check_file(path: Path, found: os.stat_result, most: int | None) -> None:
    if not stat.S_ISREG(found.st_mode):
        raise UserError(
            f"{path}: {'a folder' if stat.S_ISDIR(found.st_mode) else 'a pipe, socket or device'}, not a file"
        )
    _check_size(path, found.st_size, most)


def _check_size(path: Path, size: int, most: int | None) -> None:
    if most is not None and size > most:
        raise UserError(f"{path}: {size} bytes; such a file may have at most {most}")


def printable(value: object) -> str:
    """An untrusted value as text for a message: one line, without control characters, cut to `MAX_SHOWN` letters."""
    text = value if isinstance(value, str) else repr(value)
    text = "".join(letter if letter.isprintable() else " " for letter in text[: 4 * MAX_SHOWN])
    return text if len(text) <= MAX_SHOWN else text[: MAX_SHOWN - 1] + "…"
