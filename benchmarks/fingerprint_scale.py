"""Time, memory and recall of the comparison by ear for large corpora.

    python -m benchmarks.fingerprint_scale                    # 1 000, 3 000 and 10 000 clips, and the fit

The clips are made-up fingerprints of 8 s: each is of another song, with chords, a melody and drums on a grid of beats, and a rough texture of its own. 2 % of them
are copies: another clip's song, cut 1 to 3 s later, with noise and an equaliser, at a speed of 0.8 to 1.3 with the pitch unchanged or
changed as on a tape. Times are the processor's, for one core, without the time that making the fingerprints takes. Each size runs in a
process of its own. The slope is that of the logarithms of time and of clips; the last line extrapolates to 100 000 clips.

Hashes were chosen by measurement on 216 planted copies with the edits of benchmarks/fingerprint.py, of the demo's clips and of the songs in
shared/media. At the best alignment of a copy and its original, so many signs agree (in brackets: of the most reliable ones, for the
worst copy):
- signs of a cosine transform of the fingerprint's own bits, 1.1 to 2 s: 73 to 74 % (60 to 61 %). If they were independent, a key of 20
  would survive in one window of 400;
- of the slopes along frequency, 1.5 to 3 s: 92 % (80 to 83 %), and 88 % where the pitch is a band off;
- of the log energies, 1.5 to 3 s: 92 to 93 % (85 to 86 %), and 90 % where the pitch is a band off.
The last is used. With 64 of these signs, every copy has a code that differs from its original's in at most 7; of codes of different songs,
1 in 30 000 differs in 8 or fewer. With 128, of half of the copies, at most 17; of different songs, 1 in 280 000 differs in 20 or fewer.
Changes of tempo and pitch are looked up at 24 values. Hashes that are invariant to them were not measured.
"""

import json
import math
import platform
import subprocess
import sys
import time
from collections.abc import Iterator, Mapping
from functools import lru_cache
from pathlib import Path

import numpy as np

from dataset_tools.lib.core.cli import command_parser
from dataset_tools.lib.core.timebase import SAMPLE_RATE
from dataset_tools.split.fingerprint import ENERGY_FLOOR, HOP, SEMITONES
from dataset_tools.split.slope_bits import BANDS_PER_SEMITONE

RESULTS = Path(__file__).resolve().parent / "results" / "fingerprint_scale.json"
SIZES = (1000, 3000, 10_000)
GOAL = 100_000
FRAMES_PER_SECOND = SAMPLE_RATE / HOP
SONG_SECONDS = 40
CLIP_SECONDS = (5.0, 20.0)
CLIPS_PER_SONG = 5
COPY_EVERY = 50
"""One clip of so many is a copy."""
SPEEDS = (0.8, 0.85, 0.92, 0.96, 1.0, 1.04, 1.08, 1.15, 1.2, 1.25, 1.3)
BANDS = SEMITONES * BANDS_PER_SEMITONE
HARMONICS = 12 * BANDS_PER_SEMITONE * np.log2(np.arange(1, 7))


SPARE = 28
"""Bands by which a clip may be lower or higher."""


def make_spectra() -> np.ndarray:
    """Energies (notes, BANDS) float32: of the notes whose lowest band is -SPARE and more, then of the drum of the highest bands and of
    that of all bands."""
    band = np.arange(BANDS)
    middle = np.arange(-SPARE, BANDS + SPARE)[:, None, None] + HARMONICS[:, None]
    notes = np.sum(np.exp(-(((band - middle) / 2) ** 2)) / np.arange(1, 7)[:, None] ** 2, axis=1)
    return np.vstack([notes, 0.3 * np.clip((band - 120) / 40, 0, 1), np.full(BANDS, 0.3)]).astype(np.float32)


SPECTRA = make_spectra()


@lru_cache(100)
def make_song(seed: int) -> np.ndarray:
    """Notes (N, 4): start in frames, lowest band (-1: a drum of all bands, -2: of the highest), frames of decay, energy."""
    rng = np.random.default_rng(seed)
    beat = 60 / rng.uniform(85, 150) * FRAMES_PER_SECOND
    drums, melody = rng.uniform(0, 1, 2), rng.uniform(0.3, 0.9)
    key, scale = rng.integers(12), np.array([0, 2, 4, 5, 7, 9, 11])
    notes = []
    for step in range(int(SONG_SECONDS * FRAMES_PER_SECOND / beat * 2)):
        at = step * beat / 2
        if step % 8 == 0:
            chord = rng.integers(7)
            pitches = [key + scale[(chord + up) % 7] + 12 for up in (0, 2, 4)]
            notes += [(at, pitch * BANDS_PER_SEMITONE, 4 * beat, 1.0) for pitch in pitches]
        if rng.random() < melody:
            pitch = key + scale[rng.integers(7)] + 12 * rng.integers(1, 3)
            notes.append((at, pitch * BANDS_PER_SEMITONE, beat * rng.uniform(0.3, 1.5), rng.uniform(1, 4)))
        if step % 4 == 2 or rng.random() < 0.15:
            notes.append((at, -1, 2.0, drums[0] * rng.uniform(0.5, 1.5)))
        if step % 2 or rng.random() < 0.3:
            notes.append((at, -2, 1.2, drums[1] * rng.uniform(0.2, 0.6)))
    return np.array(notes)


def make_print(
    seed: int, start: float, tempo: float, bands: int, noise: int | None, seconds: float = 8.0
) -> np.ndarray:
    """Log energies (T, bands) of a clip of so many seconds that begins `start` frames into a song, `tempo` times as fast and `bands`
    higher. noise: seed of the noise and the equaliser; None for none."""
    frames = round(seconds * FRAMES_PER_SECOND)
    begin, low, decay, level = make_song(seed).T
    at, decay = (begin - start) / tempo, decay / tempo
    sounding = (at < frames) & (at + 6 * decay > 0)
    past = np.arange(frames, dtype=np.float32)[:, None] - at[sounding].astype(np.float32)
    course = np.exp(-np.maximum(past, 0) / decay[sounding].astype(np.float32)) / (
        1 + np.exp(-4 * np.clip(past, -20, 20))
    )
    spectra = SPECTRA[np.where(low < 0, low, low + bands + SPARE).astype(int)[sounding]]
    energy = 1e-3 + (course * level[sounding].astype(np.float32)) @ spectra
    rows = round(SONG_SECONDS * FRAMES_PER_SECOND)
    texture = np.random.default_rng((seed, 1)).random((rows, BANDS + 2 * SPARE), np.float32) - np.float32(0.5)
    texture = 2 * (texture[:, :-2] + texture[:, 1:-1] + texture[:, 2:])[:, SPARE - bands :][:, :BANDS]
    when = np.minimum(start + np.arange(frames) * tempo, rows - 2)
    before, part = when.astype(int), (when % 1).astype(np.float32)[:, None]
    energy *= np.exp(0.6 * (texture[before] * (1 - part) + texture[before + 1] * part))
    if noise is not None:
        rng = np.random.default_rng(noise)
        rough = rng.standard_normal((frames, BANDS + 2), np.float32)
        energy *= np.exp(0.2 * (rough[:, :-2] + rough[:, 1:-1] + rough[:, 2:]) / 3**0.5)
        energy *= np.exp(0.8 * np.cos(np.pi * rng.uniform(0, 2) * np.arange(BANDS) / BANDS))
    return np.log(energy / np.quantile(energy, 0.99) + ENERGY_FLOOR).astype(np.float32)


class MadeUpCorpus(Mapping[str, np.ndarray]):
    """Fingerprints that are made whenever they are asked for."""

    def __init__(self, clips: int):
        self.clips, self.seconds = clips, 0.0
        rng = np.random.default_rng(clips)
        songs = math.ceil(clips / CLIPS_PER_SONG)
        self.recordings = (songs * rng.uniform(0, 1, clips) ** 2).astype(int)
        """Song of each clip. The density falls with the root of the rank: of 100 000 clips, 700 are of the first song."""
        self.lengths = rng.uniform(*CLIP_SECONDS, clips)
        """Seconds."""
        self.starts = rng.uniform(0, 8, clips)
        """Seconds of its song at which each clip begins."""
        for copy in range(COPY_EVERY - 1, clips, COPY_EVERY):
            original = copy - COPY_EVERY // 2
            later = min(1 + copy // COPY_EVERY % 7 / 3, self.lengths[original] - 4)
            self.recordings[copy], self.starts[copy] = self.recordings[original], self.starts[original] + later

    def is_copy(self, number: int) -> bool:
        """Whether a clip is a copy under another song id, of the clip half of COPY_EVERY before it."""
        return number % COPY_EVERY == COPY_EVERY - 1

    def change(self, number: int) -> tuple[float, int]:
        """(tempo, bands) of a copy."""
        copy = number // COPY_EVERY
        tempo = SPEEDS[copy % len(SPEEDS)]
        return tempo, 0 if copy // len(SPEEDS) % 2 else round(12 * BANDS_PER_SEMITONE * np.log2(tempo))

    def songs(self) -> dict[str, str]:
        """Clip -> song id. A copy is listed as a song of its own."""
        return {
            clip_id: f"copy {clip_id}" if self.is_copy(number) else str(self.recordings[number])
            for number, clip_id in enumerate(self)
        }

    def __getitem__(self, clip_id: str) -> np.ndarray:
        begin = time.process_time()
        number = int(clip_id)
        tempo, bands = self.change(number) if self.is_copy(number) else (1.0, 0)
        made = make_print(
            int(self.recordings[number]), self.starts[number] * FRAMES_PER_SECOND, tempo, bands,
            number if self.is_copy(number) else None, self.lengths[number],
        )  # fmt: skip
        self.seconds += time.process_time() - begin
        return made

    def __iter__(self) -> Iterator[str]:
        return (f"{number:06d}" for number in range(self.clips))

    def __len__(self) -> int:
        return self.clips


def fit(rows: list[dict]) -> dict:
    """Slope of the logarithms of time and clips, and the time for GOAL clips."""
    clips = np.log([row["clips"] for row in rows])
    seconds = np.log([row["search_seconds"] + row["comparison_seconds"] for row in rows])
    slope, offset = np.polyfit(clips, seconds, 1)
    return {
        "slope": round(float(slope), 3),
        f"minutes_for_{GOAL}": round(float(np.exp(offset + slope * np.log(GOAL))) / 60, 1),
    }


def processor() -> str:
    """The processor's kind."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    named = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.machine()


def main(argv: list[str] | None = None) -> int:
    """Measure each size in a process of its own, print and write the results."""
    parser = command_parser("benchmarks.fingerprint_scale", __doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=list(SIZES), help="numbers of clips")
    parser.add_argument("--one", type=int, help="measure this size in this process, and print JSON")
    parser.add_argument("--out", type=Path, default=RESULTS)
    args = parser.parse_args(argv)
    if args.one:
        print(json.dumps(measure(args.one)))
        return 0
    rows = []
    for clips in args.sizes:
        command = [sys.executable, "-m", "benchmarks.fingerprint_scale", "--one", str(clips)]
        rows.append(json.loads(subprocess.run(command, check=True, capture_output=True, text=True).stdout))
        print(json.dumps(rows[-1]), flush=True)
        result = {"processor": processor(), "threads": 1, "sizes": rows} | (fit(rows) if len(rows) > 1 else {})
        args.out.write_text(json.dumps(result, indent=2) + "\n")
    print({key: value for key, value in result.items() if key != "sizes"})
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
