"""The user's own songs: reads the audio files of a folder and tracks their beats, which are cached by the file's content.

Trackers place beats on a grid of about 20 ms. If an attack is near, the beat is moved there (`sharpened`), so that the song is
heard exactly on the dance's beats.
"""

import dataclasses
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from d2m_model.generate.given_files import SONGS, songs_of
from d2m_model.rhythm.beats_file import Beats, read_beats, write_beats
from d2m_model.rhythm.music_beats import Tracker, librosa_beats, music_beats
from dataset_tools.lib.audio.librosa_loader import load_librosa
from dataset_tools.lib.audio.mono import to_mono
from dataset_tools.lib.core import limits
from dataset_tools.lib.core.cli import say
from dataset_tools.lib.core.errors import UserError
from dataset_tools.lib.core.progress import progress
from dataset_tools.lib.core.timebase import SAMPLE_RATE
from dataset_tools.lib.core.work_cache import file_sha256, item_key
from dataset_tools.lib.video.media import find_audio_streams, open_media
from dataset_tools.lib.video.video_io import read_audio

REACH = 0.05
"""Largest distance in seconds between a tracked beat and its attack."""
FINE = 64
"""Hop in samples at 22 050 Hz of the envelope in which attacks are found: 3 ms."""
CLEAR = 5.0
"""Smallest ratio of an attack's peak to the envelope's mean."""
VERSION = 1
"""Version of the cached beats."""
MOST_SONGS = 10_000
LEAST_SECONDS = 1.0
MOST_SECONDS = 1800
"""Longest song; it is held in memory as a whole."""


@dataclass(frozen=True, kw_only=True)
class OwnSong:
    """An audio file and its beats."""

    path: Path
    beats: Beats

    @property
    def name(self) -> str:
        """The file's name."""
        return self.path.name


def read_song(path: Path, start: float = 0.0) -> tuple[np.ndarray, int]:
    """(audio (C, S) float32 within -1..1, C 1 or 2, from second `start` on; sample rate of the file in Hz).

    Raises UserError for a file that is unreadable, has no audio, or is shorter than a second or longer than half an hour.
    """
    seconds, rate = _length(path)
    if seconds > MOST_SECONDS or seconds * rate > limits.AUDIO_SAMPLES:
        most = min(MOST_SECONDS, limits.AUDIO_SAMPLES / max(1, rate)) / 60
        raise UserError(
            f"{path}: over {seconds / 60:.0f} min long at {rate} Hz; a song may have at most {most:.0f} min: cut it"
        )
    found = read_audio(path, start, wanted="audio file")
    if found is None or not found[0].shape[1]:
        raise UserError(f"{path}: has no audio; leave it out")
    if found[0].shape[1] < LEAST_SECONDS * found[1]:
        raise UserError(f"{path}: lasts {found[0].shape[1] / found[1]:.3f} s; a song has at least {LEAST_SECONDS:g}")
    return np.multiply(found[0], np.float32(1 / 32768)), found[1]


def _length(path: Path) -> tuple[float, int]:
    """(length in seconds, sample rate in Hz) of a file's audio, counted from its packets without decoding, because headers may be
    missing or wrong. Counting stops a little beyond MOST_SECONDS. 0 for a file without audio."""
    with open_media(path, "audio file") as media:
        stream = next(iter(find_audio_streams(media)), None)
        if stream is None:
            return 0.0, 0
        seconds = 0.0
        for packet in media.demux(stream):
            seconds += float((packet.duration or 0) * stream.time_base)
            if seconds > MOST_SECONDS:
                break
        return seconds, stream.codec_context.sample_rate


def read_songs(
    folder: Path, cache: Path, tracker: Tracker = librosa_beats, tracked_by: str = "librosa"
) -> list[OwnSong]:
    """All songs of a folder and its subfolders, sorted by name.

    The beats of a file's content are tracked once and kept in `cache`; tracked_by: name of the tracker in the cache. Unreadable
    files are named and left out. Raises UserError for a missing folder, and for one without readable songs.
    """
    import soxr

    folder = Path(folder)
    if not folder.is_dir():
        raise UserError(f"{folder}: no such folder; --own-music names a folder of audio files")
    paths = songs_of(folder)
    if not paths or len(paths) > MOST_SONGS:
        raise UserError(
            f"{folder}: {len(paths)} songs in this folder, but it must have 1 to {MOST_SONGS} ({', '.join(SONGS)})"
        )
    songs = []
    for path in progress(paths, "own music", unit="song"):
        kept = cache / f"{item_key(VERSION, file_sha256(path), tracked_by)}.json"
        beats = _kept_beats(kept)
        if beats is None:
            try:
                audio, rate = read_song(path)
            except UserError as err:
                say("generate", f"warning: left out: {err}")
                continue
            mono = soxr.resample(to_mono(audio, rate), rate, SAMPLE_RATE).astype(np.float32)
            beats = sharpened(music_beats(mono, tracker), mono)
            cache.mkdir(parents=True, exist_ok=True)
            write_beats(kept, beats)
            beats = read_beats(kept)  # rounded as in the file, so that the next run finds the same
        songs.append(OwnSong(path=path, beats=beats))
    if not songs:
        raise UserError(f"{folder}: none of its {len(paths)} audio files can be read")
    return songs


def sharpened(beats: Beats, audio: np.ndarray) -> Beats:
    """The beats of audio (S,) at 22 050 Hz, each moved to the attack within REACH; beats without an attack are moved by the median of
    the other shifts."""
    librosa = load_librosa()

    if len(beats.beats) < 2:
        return beats
    envelope = librosa.onset.onset_strength(y=audio, sr=SAMPLE_RATE, hop_length=FINE, n_fft=8 * FINE, n_mels=32, lag=2)
    rate, clear = SAMPLE_RATE / FINE, CLEAR * float(envelope.mean())
    moves = np.full(len(beats.beats), np.nan)
    for number, beat in enumerate(beats.beats):
        first = max(0, round((beat - REACH) * rate))
        near = envelope[first : round((beat + REACH) * rate) + 1]
        if len(near) and near.max() > clear:
            moves[number] = (first + near.argmax()) / rate - beat
    usual = float(np.nanmedian(moves)) if np.isfinite(moves).any() else 0.0
    moves = np.where(np.isfinite(moves), moves, usual)
    moved = np.clip(beats.beats + moves, 0, beats.seconds)
    if (np.diff(moved) <= 0).any():
        return beats
    accents = [int(np.abs(beats.beats - time).argmin()) for time in beats.downbeats]
    return dataclasses.replace(beats, beats=moved, downbeats=moved[np.unique(accents).astype(int)])


def _kept_beats(path: Path) -> Beats | None:
    try:
        return read_beats(path)
    except UserError:  # missing or damaged: track again
        return None
