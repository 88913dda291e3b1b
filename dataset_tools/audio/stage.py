"""audio: the sound of every clip as mono float32 at 22 050 Hz, exactly 735 samples for each of its frames."""

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import soxr
from scipy.io import wavfile

from dataset_tools.base.accounting import check_frames, demand, read_ok
from dataset_tools.base.atomic import begin_folder, keep_only, write_aside
from dataset_tools.base.cli import layout_of, run, say, stage_parser
from dataset_tools.base.errors import UserError
from dataset_tools.base.layout import Layout
from dataset_tools.base.mono import lone_channel, mono_of
from dataset_tools.base.params import load_params, require
from dataset_tools.base.schema import Row, write_records
from dataset_tools.base.timebase import FPS, SAMPLE_RATE, frames_to_samples
from dataset_tools.base.workers import run_all
from dataset_tools.vision.video_io import read_sound

STAGE = "audio"
SILENCE = 10 ** (-60 / 20)  # peak below which there is nothing to hear: -60 dB of full scale
APART = 0.05  # seconds by which a clip's sound may differ from what clips/rows.csv says


@dataclass(frozen=True, kw_only=True)
class Params:
    """Section `audio` of params.yaml."""

    workers: int = 2
    timeout: float = 300.0
    """Seconds that one clip may take; one that hangs a decoder becomes a failed row."""
    min_ok: float = 0.9
    """Fraction of the cut clips that must be ok."""

    def __post_init__(self):
        require(self.workers >= 1, f"workers must be at least 1, found {self.workers}")
        require(self.timeout > 0, f"timeout must be above 0 s, found {self.timeout:g}")
        require(0 <= self.min_ok <= 1, f"min_ok must be 0 to 1, found {self.min_ok}")


@dataclass(frozen=True, kw_only=True)
class CutRow(Row):
    """What this stage reads of clips/rows.csv."""

    frames: int | None = None


@dataclass(frozen=True, kw_only=True)
class AudioRow(Row):
    """One row of audio/rows.csv."""

    samples: int = 0
    """At 22 050 Hz."""
    peak: float = 0.0
    """Largest absolute sample after mixing down; can pass 1."""
    rms: float = 0.0
    channel: str = ""
    """'left' or 'right' where that channel was taken alone, for the mean of both loses what is heard; else empty."""


def to_mono(sound: np.ndarray, rate: int, samples: int) -> np.ndarray:
    """(C, N) int16 at `rate` to (samples,) float32 at 22 050 Hz, full scale 1, the first sample at the same instant.

    Channels are averaged, see `mono_of`; soxr resamples without delay. Rounding at the end is cut off or filled with silence.
    """
    mono = mono_of(sound.astype(np.float32) / 32768, rate)
    if rate != SAMPLE_RATE:
        mono = soxr.resample(mono, rate, SAMPLE_RATE, quality="VHQ")
    fitted = np.zeros(samples, np.float32)
    fitted[: len(mono)] = mono[:samples]
    return fitted


def extract(job: tuple[Path, Path, CutRow]) -> AudioRow:
    """Write one clip's wav, or say in the row why not."""
    clips, target, cut = job
    if cut.status != "ok":
        return AudioRow(id=cut.id, status="dropped", reason=f"clip was not cut: {cut.reason}")
    try:
        check_frames(cut.frames)
        found = read_sound(clips / f"{cut.id}.mp4")
    except UserError as err:
        return failed(job, str(err))
    if found is None:
        return failed(job, "the clip has no sound")
    seconds = found[0].shape[1] / found[1]
    if abs(seconds - cut.frames / FPS) > APART:
        return failed(job, f"it has {seconds:.3f} s of sound, but clips/rows.csv says {cut.frames} frames at {FPS} fps; run the stage clips again")
    mono = to_mono(*found, frames_to_samples(cut.frames))
    peak, rms = np.abs(mono).max(), np.sqrt(np.mean(mono.astype(np.float64) ** 2))
    if np.ptp(mono) / 2 < SILENCE:
        return failed(job, f"nothing of its sound is left at {SAMPLE_RATE} samples a second in one channel (peak {peak:.5f} of 1)")
    with write_aside(target / f"{cut.id}.wav") as aside:
        wavfile.write(aside, SAMPLE_RATE, mono)
    alone = lone_channel(found[0].astype(np.float32) / 32768, found[1])
    return AudioRow(
        id=cut.id, status="ok", samples=len(mono), peak=round(float(peak), 5), rms=round(float(rms), 5),
        channel="" if alone is None else ("left", "right")[alone],
    )  # fmt: skip


def failed(job: tuple[Path, Path, CutRow], reason: str) -> AudioRow:
    """Row of a clip whose sound could not be had."""
    return AudioRow(id=job[2].id, status="failed", reason=reason)


def audio(layout: Layout, params: Params) -> list[AudioRow]:
    """Write data/<corpus>/audio; return one row per row of clips, failed ones too."""
    cuts = read_ok(layout, "clips", CutRow)
    jobs = [(layout.stage("clips"), layout.stage(STAGE), cut) for cut in cuts]
    target = layout.stage(STAGE)
    begin_folder(target, "rows.csv")
    rows = run_all(extract, jobs, params.workers, STAGE, failed=failed, timeout=params.timeout)
    assert len(rows) == len(cuts)
    keep_only(target, {f"{row.id}.wav" for row in rows if row.status == "ok"}, ".wav")
    write_records(target / "rows.csv", rows, AudioRow)
    return rows


def main(argv: list[str] | None = None) -> int:
    """Run the stage."""
    args = stage_parser("dataset_tools.audio", __doc__).parse_args(argv)
    layout = layout_of(args)
    params = load_params(layout.params, STAGE, Params)
    rows = audio(layout, params)
    cut = [row for row in rows if row.status != "dropped"]
    say(STAGE, demand(cut, stage=STAGE, min_ok=params.min_ok, table=layout.stage(STAGE) / "rows.csv"))
    return 0


if __name__ == "__main__":
    run(main)
