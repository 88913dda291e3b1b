"""What a file of someone else may be, all numbers in one place, and the first look at any such file.

What is larger, deeper or longer than this is refused in one line before it is unpacked, so no file hangs a stage or takes
its memory. A reader of a foreign format takes its bytes by `read_bytes` and its numbers from here.
"""

import os
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from dataset_tools.lib.core.errors import UserError

# Texts: params.yaml, card.yaml, rows and manifests
YAML_BYTES, YAML_DEPTH, YAML_VALUES = 256 << 10, 16, 20_000
"""Of one file; depth of nesting; values, those that aliases repeat counted each time."""
CSV_BYTES, CSV_ROWS, CELL = 32 << 20, 200_000, 10_000
"""Of one file; letters of one cell."""
WHOLE = 2**63 - 1
"""Largest whole number, either way, that a table or a parameter may hold: what 64 bits hold."""
SHOWN = 120
"""Letters of a foreign value that a message repeats."""

# Annotation sheets
SHEET_BYTES, SHEET_UNPACKED, SHEET_PARTS = 20 << 20, 24 << 20, 1000
"""Bytes of the file; of an XLSX file's parts together, pictures apart, which are not opened; number of parts."""
SHEET_STRINGS, SHEET_PART = 8 << 20, 1 << 20
"""Bytes of the part that holds the cells' texts; of one that holds no cells (styles, names)."""
SHEET_ROWS, SHEET_COLUMNS, SHEET_CELL = 10_000, 50, 2_000
"""Rows and columns of one sheet; letters of one cell."""

# Times, counts and sizes, wherever they stand
VIDEO_SECONDS, CLIP_SECONDS = 24 * 3600, 3600
"""Longest compilation, longest clip."""
DANCERS, TEMPO, LEAST_SIDE, SIDE = 64, 1000.0, 16, 8192
"""Dancers in a clip; beats a minute; px of the side of a film's picture, least, and of any picture, most."""
TEXT = 1000
"""Letters of a name that is no file's name: a genre, a song's title, what computed a stream."""

# Downloads (the size of a film: download.max_gb)
PAGE_BYTES = 64 << 10
"""Of a page that came in place of a video, enough for what it says."""
ANSWER_BYTES, PIECES, MANIFEST_PIECES = 64 << 20, 200_000, 1_000_000
"""Of a page that a site's films are looked for in, of a playlist, of a manifest; files of a playlist; of all formats of a manifest
together."""
READ_TIMEOUTS, REDIRECTS, FETCH_SECONDS = 10, 20, 24 * 3600
"""Times download.socket_timeout in which a read must come to its end, though a byte came now and then; pages that lead to another
before the film; seconds that one run may fetch a film."""

# Films (their pictures' sides are above, the rates of their sound below)
PIXEL_ASPECT, STANDSTILL = 8.0, 60.0
"""Width of a pixel over its height, or the reverse: the widest in use is 2; seconds for which one picture may be shown."""

FILM_TRACKS, FILM_EDITS, FILM_PACKETS = 200, 1000, 20_000_000
"""Tracks of an MP4 file; edits of a track, each of which FFmpeg makes an index of pictures for when it opens the file; packets of
all streams together: a day at 60 fps with its sound has half as many."""
LOOK_SECONDS, LOOK_PACE, LOOK_BYTES = 60.0, 2e6, 4 << 30
"""Seconds that looking at every packet of a file may take, and bytes of the file for which it has one more; memory it may take."""

# Annotations of AIST++, segments of the released layout, pins of weights
ANNOTATION_BYTES, SEGMENT_BYTES, PINS_BYTES = 64 << 20, 4 << 20, 1 << 20
"""Of one file: the published annotations have at most a sixth of it; one of a segment's three, of 2 s; the table."""

# Shards
SHARD_CLIPS, SHARD_PEAK = 100_000, 4.0
"""Clips of one file; largest absolute sample of their sound, of which 1 is full scale: resampling goes a little over it."""

# Arrays, networks, sounds, scores and other JSON
ZIP_PARTS, ARRAY_BYTES, ARRAY_AXES = 10_000, 256 << 20, 32
"""Parts of a zip archive; bytes of arrays unpacked from one; axes of an array."""
TENSOR_BYTES, TENSOR_PARTS, TENSOR_STEPS, TENSOR_NEST = 16 << 30, 200_000, 1_000_000, 10_000
"""Of a file of torch.save: bytes; tensors; steps of its pickle, and bytes of it 10 times that; values in one nest of tuples."""
AUDIO_SECONDS, AUDIO_SAMPLES = CLIP_SECONDS, 1800 * 48_000
"""Longest sound; most samples, of all channels together where these are kept."""
AUDIO_RATES, AUDIO_CHANNELS, LOUDEST = (1000, 768_000), 256, 2.0**31
"""Samples a second, least and most; channels; largest absolute sample: what a 32-bit one is where nobody scaled it to 1."""
MIDI_BYTES, MIDI_SECONDS, MIDI_BARS = 1 << 20, 3600.0, 100_000
"""Of one score."""
JSON_BYTES, JSON_DEPTH, JSON_LISTS, JSON_DICTS, JSON_VALUES = 256 << 20, 64, 1 << 22, 1 << 20, 1 << 24
"""Of one file, unless its reader says fewer bytes; depth of nesting; number of lists, objects and values."""


def check_regular_file(path: Path, most: int | None = None) -> Path:
    """`path`, once it is known to be a regular file of at most `most` bytes: no folder, and no pipe or device, which would be
    waited for, no link that leads in a circle. Raises UserError for what is none, can't be looked at or is larger."""
    path = Path(path)
    with _as_user_error(path):
        _check_file(path, path.stat(), most)
    return path


def read_bytes(path: Path, most: int) -> bytes:
    """The bytes of a regular file, never more than `most`. Raises UserError as `check_regular_file`, and for a file that can't be read."""
    at_once = lambda name, flags: os.open(name, flags | os.O_NONBLOCK)  # what may be a pipe is not waited for
    with _as_user_error(path):
        with open(path, "rb", opener=at_once) as file:
            _check_file(path, os.fstat(file.fileno()), most)
            data = file.read(most + 1)
        _check_size(path, len(data), most)  # some grow, and some claim to be empty
    return data


@contextmanager
def _as_user_error(path: Path) -> Iterator[None]:
    """What the system says of a file that can't be had, as UserError."""
    try:
        yield
    except UserError:
        raise
    except IsADirectoryError:
        raise UserError(f"{path}: a folder, not a file") from None
    except (FileNotFoundError, NotADirectoryError):
        raise UserError(f"{path}: file not found") from None
    except ValueError:  # a NUL in it
        raise UserError(f"{str(path)[:SHOWN]!a}: no name that a file can have") from None
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
        raise UserError(f"{path}: {size} bytes; such a file has at most {most}")


def printable(value: object) -> str:
    """A foreign value as a message repeats it: one line, without control characters, cut to `SHOWN` letters."""
    text = value if isinstance(value, str) else repr(value)
    text = "".join(letter if letter.isprintable() else " " for letter in text[: 4 * SHOWN])
    return text if len(text) <= SHOWN else text[: SHOWN - 1] + "…"
