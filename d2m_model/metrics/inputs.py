"""Reads audio files and beats for the metrics: audio is mono float32 at 22 050 Hz, times are in seconds."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from dataset_tools.lib.audio.audio_file import Samples, read_samples
from dataset_tools.lib.core.array_file import read_npz
from dataset_tools.lib.core.errors import Unreadable, UserError
from dataset_tools.lib.core.json_file import read_json
from dataset_tools.lib.core.limits import CLIP_SECONDS, check_regular_file
from dataset_tools.lib.core.names import to_nfc
from dataset_tools.lib.core.timebase import SAMPLE_RATE

AUDIO_SUFFIXES = (".wav", ".flac", ".ogg", ".mp3")
TOLERANCE = 0.1
"""Share of the reference's length by which generated audio may be shorter without being padded."""


def prepared(audio: np.ndarray, rate: int) -> np.ndarray:
    """Mono audio (S,) at `rate`, resampled to 22 050 Hz by soxr; float32."""
    if rate == SAMPLE_RATE:
        return audio
    import soxr

    return soxr.resample(audio, rate, SAMPLE_RATE)


def read_audio(path: Path) -> np.ndarray:
    """An audio file as mono float32 (S,) at 22 050 Hz, S at least 1, finite; channels are mixed by `mono.to_mono`. Raises as
    `read_with_format`."""
    return read_with_format(path)[0]


def read_with_format(path: Path) -> tuple[np.ndarray, Samples]:
    """(audio as in `read_audio`, the samples of the file). Raises UserError as `audio_file.read_samples`, and for audio that is too
    short for one sample."""
    found = read_samples(path, mono=True)
    audio = prepared(found.audio, found.rate)
    if not len(audio):
        raise UserError(
            f"{path}: holds no audio ({len(found.audio)} samples at {found.rate} Hz); write it again or leave it out"
        )
    return audio, found


def audio_files(folder: Path) -> dict[str, Path]:
    """{stem: file} of the audio files of a folder, without hidden ones. UserError if there are none, if two have one stem, or if one is
    no regular file, such as a pipe."""
    if not Path(folder).is_dir():
        raise UserError(f"{folder}: no such folder")
    files = sorted(
        p for p in Path(folder).iterdir() if p.suffix.lower() in AUDIO_SUFFIXES and not p.name.startswith(".")
    )
    if not files:
        raise UserError(f"{folder}: no audio files ({', '.join(AUDIO_SUFFIXES)}) in it")
    result = {}
    for path in files:
        stem = to_nfc(path.stem)
        if stem in result:
            raise UserError(f"{folder}: both {result[stem].name} and {path.name} are called '{stem}'; keep one")
        result[stem] = check_regular_file(path)
    return result


def as_long(audio: np.ndarray, samples: int) -> np.ndarray:
    """Generated audio (S,), ready to be compared with a reference of `samples`. Longer audio is cut. Audio that lacks more than
    `TOLERANCE` of the reference is padded with silence; otherwise one good second would win. Slightly shorter audio stays as it
    is, and the reference is cut later."""
    short = len(audio) < (1 - TOLERANCE) * samples
    return np.pad(audio, (0, samples - len(audio))) if short else audio[:samples]


def uneven(generated: Mapping[str, np.ndarray], reference: Mapping[str, np.ndarray]) -> list[str]:
    """Remarks on what `as_long` does: a line for each clip that differs by more than `TOLERANCE` from its reference, and one line
    for all others that differ."""
    lines, little = [], {}
    for name, audio in generated.items():
        own, wanted = len(audio) / SAMPLE_RATE, len(reference[name]) / SAMPLE_RATE
        if abs(own - wanted) > TOLERANCE * wanted:
            done = f"the missing {wanted - own:.2f} s count as silence" if own < wanted else "what is over is cut"
            lines.append(f"{name}: the generated audio has {own:.2f} s, its reference {wanted:.2f} s: {done}")
        elif own != wanted:
            little[name] = abs(own - wanted)
    if little:
        worst = max(little, key=little.__getitem__)
        text = "differ in length by a tenth or less: the longer one is cut to the shorter"
        lines.append(f"{len(little)} of {len(generated)} pairs {text}, by {little[worst]:.2f} s at most ({worst})")
    return lines


def training_files(folder: Path) -> list[tuple[Path, str]]:
    """(file, genre) for each file in a folder of training music: <genre>/<file>, or <file> without a genre.

    UserError for a missing folder, and for one without audio files.
    """
    if not Path(folder).is_dir():
        raise UserError(f"{folder}: no such folder")
    found = [
        p
        for p in sorted(Path(folder).glob("*")) + sorted(Path(folder).glob("*/*"))
        if p.suffix.lower() in AUDIO_SUFFIXES and p.is_file()
    ]
    found = [p for p in found if not p.name.startswith(".")]
    if not found:
        raise UserError(
            f"{folder}: no audio files ({', '.join(AUDIO_SUFFIXES)}) in it; put them in one folder per genre: {folder}/<genre>/<name>.wav"
        )
    return [(p, "" if p.parent == Path(folder) else to_nfc(p.parent.name)) for p in found]


@dataclass(frozen=True, eq=False)
class ReferenceBeats:
    """The beats of a dance or of a song."""

    beats: np.ndarray
    """(n,): seconds from the clip's start, ascending."""
    downbeats: np.ndarray
    """(m,): the beats that begin a bar; empty if unknown."""


def true_rhythm(folder: Path, clips: list[str]) -> dict[str, ReferenceBeats]:
    """{clip: its true beats} if the folder has <clip_id>.npz for all clips; else empty."""
    files = {c: folder / f"{c}.npz" for c in clips}
    return {c: read_truth(f) for c, f in files.items()} if all(f.exists() for f in files.values()) else {}


def read_truth(path: Path, *, bars: bool = False) -> ReferenceBeats:
    """The true beats of a clip from its <clip_id>.npz. bars: down-beats are required. UserError where required times are missing, or
    are not ascending seconds within a clip."""
    found = {"downbeats": np.zeros(0)} | read_npz(path, ("beats", "downbeats") if bars else ("beats",), ("downbeats",))
    for name, times in found.items():
        if (
            times.ndim != 1
            or times.dtype.kind not in "fiu"
            or not np.isfinite(times).all()
            or (np.diff(times.astype(float)) <= 0).any()
        ):
            raise UserError(
                f"{path}: {name} must be ascending seconds (n,), found {times.dtype} {times.shape}; run the stage sources again"
            )
        if times.size and not 0 <= times[0] <= times[-1] <= CLIP_SECONDS:
            raise UserError(
                f"{path}: {name} must be 0 s to {CLIP_SECONDS} s, found {times[0]:g} to {times[-1]:g}; run the stage sources again"
            )
    return ReferenceBeats(found["beats"].astype(float), found["downbeats"].astype(float))


def true_beats(folder: Path, clips: list[str]) -> dict[str, np.ndarray]:
    """{clip: beat times in seconds} from `true_rhythm`."""
    return {c: found.beats for c, found in true_rhythm(folder, clips).items()}


def read_rhythm(folder: Path, clips: list[str]) -> dict[str, ReferenceBeats]:
    """{clip: the beats that the stage `rhythm` predicted from its motion} from a folder of <clip_id>.json; empty if there is no such
    folder. UserError for a missing file, and for times that are not ascending."""
    if not folder.is_dir():
        return {}
    result = {}
    for clip in clips:
        path = folder / f"{clip}.json"
        if not path.is_file():
            raise UserError(
                f"{path}: not there, but there is a rhythm of other clips; run the stage rhythm again, or remove {folder}"
            )
        try:
            content: Any = read_json(path)
            lists: list[np.ndarray] = [np.array(content[key], float) for key in ("beats", "downbeats")]
            fits = all(
                x.ndim == 1 and np.isfinite(x).all() and (np.diff(x) > 0).all() and (x >= 0).all() for x in lists
            )
        except Unreadable as err:
            raise UserError(f"{err}; run the stage rhythm again") from None
        except (ValueError, KeyError, TypeError, OverflowError):
            fits = False
        if not fits:
            raise UserError(
                f"{path}: beats and downbeats must be ascending lists of seconds from 0; run the stage rhythm again"
            )
        result[clip] = ReferenceBeats(*lists)
    return result
