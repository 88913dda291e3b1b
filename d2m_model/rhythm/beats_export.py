"""Exports beats for other programs: as JSON, as MIDI, or as a click track."""

from pathlib import Path

from d2m_model.rhythm.beats_file import EXPORTED, Beats, clicks, write_beats
from dataset_tools.lib.core.errors import UserError


def export_beats(path: Path, beats: Beats) -> None:
    """Write beats in the format that the suffix of `path` names, complete or absent: .json as in `beats_file`, .mid as in `beats_midi`, or
    .wav, a click track as long as the dance. Raises UserError for another suffix."""
    suffix = Path(path).suffix.lower()
    if suffix not in EXPORTED:
        raise UserError(f"{path}: beats are written as {', '.join(EXPORTED)}; name such a file")
    if suffix == ".json":
        write_beats(path, beats)
    elif suffix == ".mid":
        from d2m_model.rhythm.beats_midi import write_beats_midi

        write_beats_midi(path, beats)
    else:
        from d2m_model.generate.finish import write_wav

        write_wav(path, clicks(beats, beats.seconds))
