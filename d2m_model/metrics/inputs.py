"""Sound files and true beats as the metrics want them: mono float32 at 22 050 Hz, seconds."""

from pathlib import Path

import numpy as np

from dataset_tools.base.errors import UserError
from dataset_tools.base.timebase import SAMPLE_RATE

SOUNDS = (".wav", ".flac", ".ogg", ".mp3")


def read_sound(path: Path) -> np.ndarray:
    """A sound file as mono float32 (S,) at 22 050 Hz. UserError if it can't be read or holds NaN."""
    import librosa
    import soundfile

    try:
        audio, rate = soundfile.read(path, dtype="float32", always_2d=True)
    except (soundfile.LibsndfileError, OSError) as err:
        raise UserError(f"{path}: not a readable sound file: {err}") from None
    audio = audio.mean(axis=1)
    if not np.isfinite(audio).all():
        raise UserError(f"{path}: holds NaN or infinite samples; write it again")
    return librosa.resample(audio, orig_sr=rate, target_sr=SAMPLE_RATE) if rate != SAMPLE_RATE else audio


def read_folder(folder: Path) -> dict[str, np.ndarray]:
    """{stem: sound} of all sound files of a folder. UserError if there is none."""
    if not Path(folder).is_dir():
        raise UserError(f"{folder}: no such folder")
    files = sorted(p for p in Path(folder).iterdir() if p.suffix.lower() in SOUNDS)
    if not files:
        raise UserError(f"{folder}: no sound files ({', '.join(SOUNDS)}) in it")
    return {p.stem: read_sound(p) for p in files}


def true_beats(folder: Path, clips: list[str]) -> dict[str, np.ndarray]:
    """{clip: beat times in seconds} where the corpus keeps its truth beside it; else empty."""
    files = {c: folder / f"{c}.npz" for c in clips}
    if not all(f.exists() for f in files.values()):
        return {}
    return {c: np.load(f, allow_pickle=False)["beats"] for c, f in files.items()}
