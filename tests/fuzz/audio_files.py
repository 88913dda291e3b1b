"""Audio files: every container and coding that libsndfile writes, MP3, and what claims to be one."""

import io
from functools import cache
from pathlib import Path

import numpy as np
import soundfile
from hypothesis import strategies as st

from d2m_model.metrics.inputs import read_audio
from dataset_tools.lib.audio.audio_file import read_samples
from dataset_tools.lib.shard_io import stream_files
from tests.fuzz.case import Case, promise, refusing
from tests.fuzz.mutation import damaged

KINDS = (
    "WAV PCM_16", "WAV PCM_16", "WAV FLOAT", "WAV FLOAT", "WAV DOUBLE", "WAV PCM_U8", "WAV PCM_24", "WAV PCM_32", "WAV ULAW", "WAV IMA_ADPCM", "WAV MS_ADPCM",
    "WAV GSM610", "WAV G721_32", "WAV NMS_ADPCM_16", "WAVEX PCM_16", "FLAC PCM_16", "FLAC PCM_16", "FLAC PCM_24", "OGG VORBIS", "OGG OPUS",
    "MP3 MPEG_LAYER_III", "MP3 MPEG_LAYER_III", "AIFF PCM_16", "AIFF GSM610", "AIFF FLOAT", "AU PCM_16", "AU G723_24", "W64 PCM_16", "W64 GSM610",
    "RF64 PCM_16", "CAF ALAC_16", "XI DPCM_16", "NIST PCM_16", "VOC PCM_U8", "IRCAM PCM_16", "SVX PCM_16", "PAF PCM_16", "HTK PCM_16", "MAT5 PCM_16",
)  # fmt: skip
ROBUST = (
    "WAV PCM_16",
    "WAV FLOAT",
    "WAV DOUBLE",
    "WAV PCM_24",
    "WAV ULAW",
    "FLAC PCM_16",
    "FLAC PCM_24",
    "AIFF PCM_16",
    "AIFF FLOAT",
    "AU PCM_16",
)
"""What libsndfile writes at any rate, any number of channels and of any numbers; at others it can crash."""
SUFFIX = {"FLAC": ".flac", "OGG": ".ogg", "MP3": ".mp3"}
RATES = (22050, 22050, 44100, 48000, 8000, 11025, 1, 100, 192000)


def metric(into: Path, _out: Path) -> None:
    path = next(into.iterdir())
    audio, rate, *_ = read_samples(path)
    promise(audio.dtype == np.float32 and audio.ndim == 2 and len(audio) > 0 and rate > 0, "float32 (S, channels)")
    promise(bool(np.isfinite(audio).all()), "samples are finite")
    mono = read_audio(path)
    promise(mono.dtype == np.float32 and mono.ndim == 1, "float32 (S,)")
    promise(len(mono) > 0, f"there are samples, of {len(audio)} at {rate} Hz")
    promise(bool(np.isfinite(mono).all()), "samples are finite after resampling")
    promise(
        abs(len(mono) / 22050 - len(audio) / rate) < 0.01 + 2 / rate,
        f"{len(mono)} samples for {len(audio)} at {rate} Hz",
    )


def clip(into: Path, _out: Path) -> None:
    with refusing(ValueError, OSError, RuntimeError, soundfile.LibsndfileError):  # as stream_files promises
        path = next(into.iterdir())
        frames = stream_files.count_audio_frames(path)
        found = stream_files.read_audio(path, min(frames, 30))
    promise(found.dtype == np.float32 and found.ndim == 1, "float32 (S,)")


READERS = {"metric": metric, "clip": clip}


@cache
def _audio(kind: str, rate: int, channels: int, odd: str) -> bytes | None:
    """A third of a second; None where libsndfile does not write that."""
    time = np.arange(max(rate // 3, 40)) / rate
    audio = np.repeat((0.5 * np.sin(2 * np.pi * 220 * time)).astype(np.float32)[:, None], channels, axis=1)
    if odd:
        audio[len(audio) // 2] = float(odd)
    container, subtype = kind.split()
    out = io.BytesIO()
    try:
        soundfile.write(out, audio if channels > 1 else audio[:, 0], rate, format=container, subtype=subtype)
    except (soundfile.LibsndfileError, ValueError, TypeError, AssertionError):
        return None
    return out.getvalue()


@st.composite
def cases(draw) -> Case:
    kind = draw(st.sampled_from(KINDS))
    content = None
    if kind in ROBUST:
        odd = (
            draw(st.sampled_from(("", "", "nan", "inf", "1e30", "-3e38")))
            if kind.split()[1] in ("FLOAT", "DOUBLE")
            else ""
        )
        content = _audio(kind, draw(st.sampled_from(RATES)), draw(st.sampled_from((1, 1, 2, 6))), odd)
    content = content or _audio(kind, 22050, 1, "") or b"RIFF"
    if draw(st.integers(0, 3)):
        content = draw(damaged(content))
    suffix = (
        SUFFIX.get(kind.split()[0], ".wav")
        if draw(st.integers(0, 5))
        else draw(st.sampled_from((".wav", ".mp3", ".flac", ".ogg")))
    )
    return Case(draw(st.sampled_from(("metric", "metric", "clip"))), {f"audio{suffix}": content})
