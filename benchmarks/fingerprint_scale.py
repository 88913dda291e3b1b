"""Time, memory, recall and precision of the comparison by ear for large corpora.

    python -m benchmarks.fingerprint_scale                              # 1 000, 3 000 and 10 000 clips, and the fit
    python -m benchmarks.fingerprint_scale --sizes 100000 --part 100    # the index of all of them, in which every hundredth clip is looked up

The clips are made-up fingerprints of 5 to 20 s, of songs with chords, a melody and drums on a grid of beats, and a rough texture of their own.
There are five clips a song; some songs are used much more than others. 2 % of the clips are copies under a song id of their own: another
clip's song, cut up to 3 s later, with noise and an equaliser as from a codec, at a speed of 0.8 to 1.3 with the pitch unchanged or
changed as on a tape. A song's copy is found if a clip of that song is.

Times are the processor's, for one core. The time that making up the fingerprints takes is left out. Instead, two times are measured alone:
to read 12.5 s of audio and compute its fingerprint, which `split` does once for each clip, and to read a kept fingerprint, which is counted
as often as the search asked for one. Each size runs in a process of its own; sizes that the results already hold are kept. The slope is
that of the logarithms of time and of clips; the last line extrapolates to 100 000 clips.

How alike codes are was measured for clips of different songs. Of pairs of windows, 96 in a million have the same key of 30 bits here, of
which 7 are free; for the demo's songs it is 64, for songs of other people 32. So a search among these songs takes longer.

Hashes were chosen by measurement on 216 planted copies with the edits of benchmarks/fingerprint.py, of the demo's clips and of four songs of other people. At the best alignment of a copy and its original, so many signs agree (in brackets: of the most reliable ones, for the
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
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator, Mapping
from functools import lru_cache
from pathlib import Path

import numpy as np
import soundfile

from dataset_tools.demo.music.songs import compose, synthesise
from dataset_tools.lib.audio.audio_file import read_samples
from dataset_tools.lib.core.array_file import read_npy, write_npy
from dataset_tools.lib.core.cli import command_parser
from dataset_tools.lib.core.progress import progress
from dataset_tools.lib.core.timebase import SAMPLE_RATE
from dataset_tools.split.candidates import look_up
from dataset_tools.split.code_index import CodeIndex
from dataset_tools.split.fingerprint import (
    ENERGY_FLOOR,
    HOP,
    SAME_RECORDING,
    SEMITONES,
    compare_candidates,
    fingerprint,
)
from dataset_tools.split.remembered import RememberedPrints
from dataset_tools.split.slope_bits import BANDS_PER_SEMITONE

RESULTS = Path(__file__).resolve().parent / "results" / "fingerprint_scale.json"
SIZES = (1000, 3000, 10_000)
GOAL = 100_000
FINGERPRINTS = 100
"""Fingerprints that are timed."""
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
        self.clips, self.made, self.seconds, self.begin = clips, 0, 0.0, 0.0
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
        self.made += 1
        return made

    def take_time(self) -> float:
        """Seconds of this process since the last call, without those that making fingerprints took."""
        now = time.process_time() - self.seconds
        took, self.begin = now - self.begin, now
        return took

    def __iter__(self) -> Iterator[str]:
        return (f"{number:06d}" for number in range(self.clips))

    def __len__(self) -> int:
        return self.clips


def measure(clips: int, part: int) -> dict:
    """Time, memory, recall and precision for so many clips. part: 1; or look up one block of COPY_EVERY clips of so many, and multiply
    the times of what is done for them."""
    corpus = MadeUpCorpus(clips)
    song_of = corpus.songs()
    prints = RememberedPrints(list(corpus), corpus.__getitem__)
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    corpus.take_time()
    index = CodeIndex(prints, song_of, "scale: listening")
    took = {"index_seconds": corpus.take_time()}
    chosen = [clip_id for number, clip_id in enumerate(corpus) if number // COPY_EVERY % part == 0]
    compile_search(index)
    took |= {"compiling_seconds": corpus.take_time()}
    named = look_up(index, prints, progress(chosen, "scale: searching", unit="clip"), SAME_RECORDING)
    took |= {"search_seconds": corpus.take_time() * part}
    matches = compare_candidates(prints, named)
    took |= {"comparison_seconds": corpus.take_time() * part}
    planted = {
        frozenset((song_of[clip_id], str(corpus.recordings[int(clip_id)]))): corpus.change(int(clip_id))[0]
        for clip_id in chosen
        if corpus.is_copy(int(clip_id))
    }
    right = [corpus.recordings[int(match.first)] == corpus.recordings[int(match.second)] for match in matches]
    pairs = {
        "named": [pair for pairs in named for pair in pairs],
        "found": [(match.first, match.second) for match in matches],
    }
    songs = {word: {frozenset((song_of[a], song_of[b])) for a, b in these} for word, these in pairs.items()}
    return {
        "clips": clips,
        "looked_up": len(chosen),
        "hours_of_audio": round(float(corpus.lengths.sum()) / 3600, 1),
        **{word: round(seconds, 1) for word, seconds in took.items()},
        "prints_read": round(clips + (corpus.made - clips) * part),
        "megabytes_before": round(before / 1024),
        "megabytes_peak": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        "songs_named": len(named),
        "songs_found": len(matches),
        "precision": round(float(np.mean(right)), 4) if right else None,
        "copies": len(planted),
        "copies_named": len(planted.keys() & songs["named"]),
        "copies_found": len(planted.keys() & songs["found"]),
        "copies_within_6_percent": sum(abs(tempo - 1) < 0.061 for tempo in planted.values()),
        "of_these_found": sum(abs(tempo - 1) < 0.061 for copy, tempo in planted.items() if copy in songs["found"]),
    }


def compile_search(index: CodeIndex) -> None:
    """Have the search compiled, by a clip that finds nothing."""
    index.find_others(0, np.zeros((100, BANDS), np.float32), SAME_RECORDING)


def time_fingerprint() -> dict[str, float]:
    """Milliseconds to read 12.5 s of audio and compute its fingerprint, and to read a kept one."""
    audio = synthesise(compose(1, "house", seconds=16.0), SAMPLE_RATE)[: round(12.5 * SAMPLE_RATE)]
    with tempfile.TemporaryDirectory() as folder:
        path, kept = Path(folder) / "clip.wav", Path(folder) / "clip.npy"
        soundfile.write(path, audio, SAMPLE_RATE, subtype="FLOAT")

        def milliseconds(act: Callable[[], object]) -> float:
            begin = time.process_time()
            for _ in range(FINGERPRINTS):
                act()
            return round(1000 * (time.process_time() - begin) / FINGERPRINTS, 2)

        make = lambda: fingerprint(read_samples(path).audio[:, 0])
        write_npy(kept, make())
        return {
            "fingerprint_milliseconds": milliseconds(make),
            "reading_milliseconds": milliseconds(lambda: read_npy(kept)),
        }


def total_seconds(row: dict, *, fingerprints: bool) -> float:
    """Of the whole comparison, with or without making and reading the fingerprints."""
    parts = [row[word] for word in ("index_seconds", "compiling_seconds", "search_seconds", "comparison_seconds")]
    of_prints = row["clips"] * row["fingerprint_milliseconds"] + row["prints_read"] * row["reading_milliseconds"]
    return sum(parts) + of_prints / 1000 * fingerprints


def fit(rows: list[dict]) -> dict:
    """Slope of the logarithms of time and clips, and the time for GOAL clips, without fingerprints and with them."""
    clips = [row["clips"] for row in rows]
    found = {}
    for words, fingerprints in (("", False), ("_with_fingerprints", True)):
        seconds = [total_seconds(row, fingerprints=fingerprints) for row in rows]
        slope, offset = np.polyfit(np.log(clips), np.log(seconds), 1)
        minutes = float(np.exp(offset + slope * np.log(GOAL))) / 60
        found |= {f"slope{words}": round(float(slope), 3), f"minutes_for_{GOAL}{words}": round(minutes, 1)}
    return found


def processor() -> str:
    """The processor's kind."""
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    named = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return named[0] if named else platform.machine()


def main(argv: list[str] | None = None) -> int:
    """Measure each size in a process of its own, print and write the results."""
    parser = command_parser("benchmarks.fingerprint_scale", __doc__)
    parser.add_argument("--sizes", type=int, nargs="+", default=list(SIZES), help="numbers of clips")
    parser.add_argument("--part", type=int, default=1, help="look up one clip of so many (default: all)")
    parser.add_argument("--one", type=int, help="measure this size in this process, and print JSON")
    parser.add_argument("--out", type=Path, default=RESULTS)
    args = parser.parse_args(argv)
    if args.one:
        print(json.dumps(measure(args.one, args.part)))
        return 0
    kept = json.loads(args.out.read_text())["sizes"] if args.out.exists() else []
    rows = {row["clips"]: row for row in kept}
    milliseconds = time_fingerprint()
    for clips in args.sizes:
        command = [sys.executable, "-m", "benchmarks.fingerprint_scale", "--one", str(clips), "--part", str(args.part)]
        row = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout)
        row |= milliseconds
        for words, fingerprints in (("", False), ("_with_fingerprints", True)):
            row[f"milliseconds_a_clip{words}"] = round(1000 * total_seconds(row, fingerprints=fingerprints) / clips, 1)
        rows[clips] = row
        print(json.dumps(row), flush=True)
        result = {"processor": processor(), "threads": 1, "sizes": [rows[size] for size in sorted(rows)]}
        result |= fit(result["sizes"]) if len(rows) > 1 else {}
        args.out.write_text(json.dumps(result, indent=2) + "\n")
    print({key: value for key, value in result.items() if key != "sizes"})
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
