"""The stage `audio`: extract the audio of every clip in the corpus's format."""

from pathlib import Path

import numpy as np
import soxr
from scipy.io import wavfile

from dataset_tools.audio.params import Params
from dataset_tools.audio.rows import AudioRow
from dataset_tools.clips.rows import ClipRow
from dataset_tools.lib.audio.mono import find_lone_channel, to_mono
from dataset_tools.lib.core.accounting import check_frames, read_ok
from dataset_tools.lib.core.atomic import atomic_write, keep_only, prepare_folder
from dataset_tools.lib.core.errors import UserError
from dataset_tools.lib.core.layout import Layout
from dataset_tools.lib.core.schema import write_records
from dataset_tools.lib.core.timebase import FPS, SAMPLE_RATE, frames_to_samples
from dataset_tools.lib.parallel.workers import run_all
from dataset_tools.lib.video.video_io import read_audio

STAGE = "audio"
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


def extract(job: tuple[Path, Path, ClipRow]) -> AudioRow:
    """Write the wav file of one clip. Returns its row, with the reason if it fails."""
    clips, target, cut = job
    if cut.status != "ok":
        return AudioRow(id=cut.id, status="dropped", reason=f"clip was not cut: {cut.reason}")
    try:
        check_frames(cut.frames)
        found = read_audio(clips / f"{cut.id}.mp4")
    except UserError as err:
        return failed(job, str(err))
    if found is None:
        return failed(job, "the clip has no audio")
    seconds = found[0].shape[1] / found[1]
    if abs(seconds - cut.frames / FPS) > MAX_DIFFERENCE:
        return failed(
            job,
            f"it has {seconds:.3f} s of audio, but clips/rows.csv says {cut.frames} frames at {FPS} fps; run the stage clips again",
        )
    mono = to_corpus_audio(*found, frames_to_samples(cut.frames))
    peak, rms = np.abs(mono).max(), np.sqrt(np.mean(mono.astype(np.float64) ** 2))
    if np.ptp(mono) / 2 < SILENCE:
        return failed(job, f"its audio is silent after conversion to mono at {SAMPLE_RATE} Hz (peak {peak:.5f} of 1)")
    with atomic_write(target / f"{cut.id}.wav") as temporary:
        wavfile.write(temporary, SAMPLE_RATE, mono)
    alone = find_lone_channel(found[0].astype(np.float32) / 32768, found[1])
    return AudioRow(
        id=cut.id, status="ok", samples=len(mono), peak=round(float(peak), 5), rms=round(float(rms), 5),
        channel="" if alone is None else ("left", "right")[alone],
    )  # fmt: skip


def failed(job: tuple[Path, Path, ClipRow], reason: str) -> AudioRow:
    """Row of a clip whose audio could not be extracted."""
    return AudioRow(id=job[2].id, status="failed", reason=reason)


def audio(layout: Layout, params: Params) -> list[AudioRow]:
    """Write data/<corpus>/audio. Returns one row per row of clips, also for failed ones."""
    cuts = read_ok(layout, "clips", ClipRow)
    jobs = [(layout.stage("clips"), layout.stage(STAGE), cut) for cut in cuts]
    target = layout.stage(STAGE)
    prepare_folder(target, "rows.csv")
    rows = run_all(extract, jobs, params.workers, STAGE, failed=failed, timeout=params.timeout)
    assert len(rows) == len(cuts)
    keep_only(target, {f"{row.id}.wav" for row in rows if row.status == "ok"}, ".wav")
    write_records(target / "rows.csv", rows, AudioRow)
    return rows
