"""The stage `audio`: extract the audio of every clip in the corpus's format."""

import json
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import soxr
from scipy.io import wavfile

from dataset_tools.audio.params import Params
from dataset_tools.audio.rows import AudioRow
from dataset_tools.clips.rows import ClipRow
from dataset_tools.lib.audio.mono import find_lone_channel, to_mono
from dataset_tools.lib.clip_arrays import ClipJob, compute_clips, cut_videos
from dataset_tools.lib.core.accounting import check_frames, read_ok
from dataset_tools.lib.core.atomic import atomic_write, write_text
from dataset_tools.lib.core.errors import UserError
from dataset_tools.lib.core.layout import Layout
from dataset_tools.lib.core.packs import local_file
from dataset_tools.lib.core.timebase import FPS, SAMPLE_RATE, frames_to_samples
from dataset_tools.lib.core.work_cache import item_key
from dataset_tools.lib.video.video_io import read_audio

STAGE = "audio"
VERSION = 1  # of the extracted audio; raise it when the same clip gives other audio
SILENCE = 10 ** (-60 / 20)  # a lower peak counts as silent: -60 dB of full scale
MAX_DIFFERENCE = 0.05  # seconds between a clip's audio and its length in clips/rows.csv


def to_corpus_audio(audio: np.ndarray, rate: int, samples: int) -> np.ndarray:
    """Audio (C, N) int16 at `rate` samples per second -> (samples,) float32 at 22 050 Hz, full scale 1, starting at the same time.

    Channels are mixed by `to_mono`; soxr resamples without delay. The end is cut or padded with silence by rounding.
    """
    mono = to_mono(audio.astype(np.float32) / 32768, rate)
    if rate != SAMPLE_RATE:
        mono = soxr.resample(mono, rate, SAMPLE_RATE, quality="VHQ")
    fitted = np.zeros(samples, np.float32)
    fitted[: len(mono)] = mono[:samples]
    return fitted


@dataclass(frozen=True, kw_only=True)
class Job(ClipJob):
    """One clip whose audio is to be extracted."""

    clip: ClipRow

    @property
    def files(self) -> dict[str, Path]:
        """The wav file."""
        return {f"{self.clip.id}.wav": self.cache}

    @property
    def outputs(self) -> tuple[Path, ...]:
        """The wav file and the columns of its row."""
        return self.cache, self.facts_file

    @property
    def facts_file(self) -> Path:
        """JSON file with the columns of the row, written after the wav file."""
        return self.cache.with_suffix(".json")

    @property
    def complete(self) -> bool:
        """Whether the audio is in the cache, with its columns."""
        try:
            return self.cache.is_file() and bool(measure(self))
        except (OSError, ValueError):
            return False


def extract(job: Job, _: None) -> None:
    """Write the audio of one clip into the cache. Raises UserError, with the reason, if there is none."""
    frames = job.clip.frames
    check_frames(frames)
    with local_file(job.video) as video:
        found = read_audio(video)
    if found is None:
        raise UserError("the clip has no audio")
    seconds = found[0].shape[1] / found[1]
    if abs(seconds - frames / FPS) > MAX_DIFFERENCE:
        raise UserError(
            f"it has {seconds:.3f} s of audio, but clips/rows.csv says {frames} frames at {FPS} fps; run the stage clips again"
        )
    mono = to_corpus_audio(*found, frames_to_samples(frames))
    peak, rms = np.abs(mono).max(), np.sqrt(np.mean(mono.astype(np.float64) ** 2))
    if np.ptp(mono) / 2 < SILENCE:
        raise UserError(f"its audio is silent after conversion to mono at {SAMPLE_RATE} Hz (peak {peak:.5f} of 1)")
    with atomic_write(job.cache) as temporary:
        wavfile.write(temporary, SAMPLE_RATE, mono)
    alone = find_lone_channel(found[0].astype(np.float32) / 32768, found[1])
    columns = {
        "samples": len(mono), "peak": round(float(peak), 5), "rms": round(float(rms), 5),
        "channel": "" if alone is None else ("left", "right")[alone],
    }  # fmt: skip
    write_text(job.facts_file, json.dumps(columns))


def begin(job: Job) -> None:
    """Nothing is prepared."""


def measure(job: Job) -> dict:
    """Columns of the row of a clip whose audio is in the cache."""
    return json.loads(job.facts_file.read_text(encoding="utf-8"))


def audio(layout: Layout, params: Params) -> list[AudioRow]:
    """Write data/<corpus>/audio. Returns one row per row of clips, also for failed ones.

    Clips that an earlier run finished with the same video and length are taken from the cache.
    """
    cuts = read_ok(layout, "clips", ClipRow)
    cache = layout.cache(STAGE)
    jobs = [
        Job(clip=clip, video=video, cache=cache / f"{item_key(VERSION, content, clip.frames)}.wav")
        for clip, video, content in cut_videos(layout, cuts, STAGE)
    ]
    gone = [
        cut if cut.status == "ok" else replace(cut, status="dropped", reason=f"clip was not cut: {cut.reason}")
        for cut in cuts
    ]
    return compute_clips(
        layout, STAGE, gone, jobs, AudioRow, begin=begin, work=extract, measure=measure, facts={},
        workers=params.workers, timeout=params.timeout, pack=params.pack, suffix=".wav",
    )  # fmt: skip
