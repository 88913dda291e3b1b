"""Measures recall and precision of the audio fingerprint with planted duplicates, of the demo's songs and of other songs.

    python -m benchmarks.fingerprint                       # the demo's clips
    python -m benchmarks.fingerprint --songs FOLDER        # and pieces of 8 s of the audio and video files of a folder, one song each

Each clip is used several times: unchanged, and under other song ids, cut from another place of the same song (60 to 85 % in common, at
least 3 s) and edited like in compilations. Clips with different song ids are compared three times: all pairs; those that the codes
name, as in a corpus of 1 000 clips; and those that they name by the stricter limits of a corpus of 100 000 clips. Of all pairs, recall is the share of copies whose original is found; of those that the codes
name, it is the share of copies that are found to be of the original's song, since one pair of clips is kept of two songs. Precision is
the share of found pairs that are of one song. The demo's songs are hard negatives: there are four per genre, which share synth voices, drum patterns and
chords. So are the pieces of a folder's songs for each other's copies. Files of a folder that are of one song must be named alike up to
the first '@' (`song@1.ogg`, `song@2.mp4`).
"""

import io
import json
import time
from collections import defaultdict
from dataclasses import dataclass
from itertools import combinations
from pathlib import Path

import av
import numpy as np
import soxr

from dataset_tools.demo.music.songs import synthesise
from dataset_tools.demo.render.compilation import SAMPLE_RATE as SONG_RATE
from dataset_tools.demo.render.compilation import CompilationClip, compose_song
from dataset_tools.lib.audio.librosa_loader import load_librosa
from dataset_tools.lib.core.cli import command_parser
from dataset_tools.lib.core.manifest import load_manifest
from dataset_tools.lib.core.progress import progress
from dataset_tools.lib.core.timebase import SAMPLE_RATE
from dataset_tools.split.candidates import look_up
from dataset_tools.split.code_index import CodeIndex, choose_limits
from dataset_tools.split.fingerprint import SAME_RECORDING, compare_candidates, compare_pairs, fingerprint

ROOT = Path(__file__).resolve().parents[1]

RESULTS = Path(__file__).resolve().parent / "results" / "fingerprint.json"
LEAST = 0.2  # lowest listed score, to show the margin around SAME_RECORDING
PIECE_SECONDS = 8.0
WINDOWS_PER_CLIP = 115
"""Of an index, for clips of 12.5 s."""
LEAST_SECONDS = 4.0
"""Shorter pieces are left out: of them and of their copies, too little is in common."""


def speed_up(audio: np.ndarray, ratio: float) -> np.ndarray:
    """The audio with both tempo and pitch changed, like a tape."""
    return soxr.resample(audio, SAMPLE_RATE * ratio, SAMPLE_RATE)


def change_tempo(audio: np.ndarray, ratio: float) -> np.ndarray:
    """The audio with another tempo but the same pitch, by a phase vocoder."""
    librosa = load_librosa()

    return librosa.effects.time_stretch(audio, rate=ratio)


def shift_pitch(audio: np.ndarray, semitones: float) -> np.ndarray:
    """The audio with another pitch but the same tempo."""
    ratio = 2 ** (semitones / 12)
    return speed_up(change_tempo(audio, 1 / ratio), ratio)


def transcode(audio: np.ndarray, codec: str, bit_rate: int) -> np.ndarray:
    """The audio, encoded and decoded by a lossy codec."""
    file = io.BytesIO()
    with av.open(file, "w", format={"libmp3lame": "mp3", "aac": "mp4"}[codec]) as out:
        stream = out.add_stream(codec, rate=SAMPLE_RATE, layout="mono")
        stream.bit_rate = bit_rate
        stream.codec_context.open()
        frame = av.AudioFrame.from_ndarray((np.clip(audio, -1, 1) * 32767).astype(np.int16)[None], "s16", "mono")
        frame.sample_rate = SAMPLE_RATE
        fit = av.AudioResampler(
            stream.codec_context.format, "mono", SAMPLE_RATE, frame_size=stream.codec_context.frame_size
        )
        for part in [*fit.resample(frame), *fit.resample(None), None]:
            out.mux(stream.encode(part))
    file.seek(0)
    with av.open(file) as back:
        return np.concatenate([part.to_ndarray()[0] for part in back.decode(audio=0)]).astype(np.float32)


def add_noise(audio: np.ndarray, decibels: float) -> np.ndarray:
    """The audio with white noise at this signal-to-noise ratio."""
    noise = np.random.default_rng(len(audio)).standard_normal(len(audio)).astype(np.float32)
    return audio + noise * np.sqrt(np.mean(audio**2)) * 10 ** (-decibels / 20)


NEAR_EDITS = {
    "cut elsewhere": lambda x: x,
    "mp3 64 kbit/s": lambda x: transcode(x, "libmp3lame", 64000),
    "aac 48 kbit/s": lambda x: transcode(x, "aac", 48000),
    "speed + 6 %": lambda x: speed_up(x, 1.06),
    "speed - 6 %": lambda x: speed_up(x, 0.94),
    "speed + 2.5 %": lambda x: speed_up(x, 1.025),
    "tempo + 6 %": lambda x: change_tempo(x, 1.06),
    "tempo - 6 %": lambda x: change_tempo(x, 0.94),
    "tempo - 3.5 %": lambda x: change_tempo(x, 0.965),
    "pitch + 1 semitone": lambda x: shift_pitch(x, 1),
    "pitch - 1 semitone": lambda x: shift_pitch(x, -1),
    "noise at 10 dB": lambda x: add_noise(x, 10),
    "speed + 6 %, mp3, noise at 15 dB": lambda x: add_noise(transcode(speed_up(x, 1.06), "libmp3lame", 64000), 15),
}
"""Changes of speed of up to 6 %."""
FAR_EDITS = {
    **{
        f"speed x {ratio}": lambda x, ratio=ratio: speed_up(x, ratio)
        for ratio in (0.8, 0.85, 0.92, 1.08, 1.15, 1.2, 1.25, 1.3)
    },
    "speed x 1.27, mp3, noise at 15 dB": lambda x: add_noise(transcode(speed_up(x, 1.27), "libmp3lame", 64000), 15),
    **{f"tempo x {ratio}": lambda x, ratio=ratio: change_tempo(x, ratio) for ratio in (0.8, 0.9, 1.1, 1.25)},
}
"""Speeds of 0.8 to 1.3, as on TikTok."""
EDITS = NEAR_EDITS | FAR_EDITS


@dataclass(frozen=True)
class Planted:
    """Clips and their copies."""

    audio: dict[str, np.ndarray]
    recording_of: dict[str, str]
    """Clip -> what it is a piece of."""
    copies: dict[str, tuple[str, str]]
    """Copy -> (edit, its original)."""

    def songs(self) -> dict[str, str]:
        """Clip -> song id. Each copy is listed as a song of its own."""
        return {name: name if name in self.copies else recording for name, recording in self.recording_of.items()}


def plant_copies(
    music: dict[str, np.ndarray], clips: list[tuple[str, str, float, float]], rounds: int, seed: int
) -> Planted:
    """music: song -> audio. clips: (clip, its song, first and last second in it). rounds: copies of each clip."""
    rng, edits = np.random.default_rng(seed), list(EDITS)
    planted = Planted({}, {}, {})
    for number, (clip_id, song, begin, end) in enumerate(clips):
        whole, start, length = music[song], round(begin * SAMPLE_RATE), round((end - begin) * SAMPLE_RATE)
        planted.audio[clip_id], planted.recording_of[clip_id] = whole[start : start + length], song
        for again in range(rounds):
            edit = edits[(number * rounds + again) % len(edits)]
            most = min(0.4, 1 - 3.3 * SAMPLE_RATE / length)
            moved = start + int(rng.uniform(0.15, max(0.16, most)) * length) * int(rng.choice([-1, 1]))
            moved = int(np.clip(moved, 0, len(whole) - length))
            name = f"{clip_id}+{again}"
            planted.audio[name] = EDITS[edit](whole[moved : moved + length])
            planted.recording_of[name], planted.copies[name] = song, (edit, clip_id)
    return planted


def plant_in_demo(rounds: int, seed: int) -> Planted:
    """Copies of the clips of the demo corpus."""
    manifest = load_manifest(ROOT / "manifests" / "demo", clip=CompilationClip)
    music = {
        song.song_id: soxr.resample(synthesise(compose_song(song, seed)), SONG_RATE, SAMPLE_RATE)
        for song in manifest.songs
    }
    clips = [
        (clip.clip_id, clip.song_id, clip.song_start, clip.song_start + clip.end - clip.start)
        for clip in manifest.clips
    ]
    return plant_copies(music, clips, rounds, seed)


def plant_in_folder(folder: Path, rounds: int, seed: int) -> Planted:
    """Copies of pieces of the files of a folder."""
    music, clips = {}, []
    for path in sorted(folder.iterdir()):
        if path.suffix.lower() in (".ogg", ".mp3", ".m4a", ".wav", ".flac", ".mp4", ".webm"):
            music[path.stem] = decode(path)
    for name, wave in music.items():
        seconds = len(wave) / SAMPLE_RATE
        for start in np.arange(0, seconds - LEAST_SECONDS, PIECE_SECONDS):
            clips.append((f"{name} {start:.0f} s", name, float(start), min(seconds, float(start) + PIECE_SECONDS)))
    planted = plant_copies(music, clips, rounds, seed)
    named = {name: song.split("@")[0] for name, song in planted.recording_of.items()}
    return Planted(planted.audio, named, planted.copies)


def decode(path: Path) -> np.ndarray:
    """Mono audio (N,) float32 at 22 050 Hz of a file."""
    with av.open(path) as file:
        fit = av.AudioResampler("fltp", "mono", SAMPLE_RATE)
        parts = [part.to_ndarray()[0] for frame in file.decode(audio=0) for part in fit.resample(frame)]
    return np.concatenate(parts)


def measure(planted: Planted, as_if: int) -> dict:
    """Print recall per edit, and return recall and precision. as_if: compare those pairs that codes name, as strictly as in a corpus of so
    many clips; 0: all pairs."""
    songs, recording_of = planted.songs(), planted.recording_of
    begin = time.process_time()
    prints = {name: fingerprint(wave) for name, wave in planted.audio.items()}
    made = time.process_time()
    pairs = [(a, b) for a, b in combinations(sorted(prints), 2) if songs[a] != songs[b]]
    others = sum(recording_of[a] != recording_of[b] for a, b in pairs)
    if not as_if:
        matches = compare_pairs(prints, pairs, LEAST)
    else:
        index = CodeIndex(prints, songs, "naming: listening", choose_limits(round(as_if * WINDOWS_PER_CLIP)))
        candidates = look_up(index, prints, progress(index.ids, "naming", unit="clip"), SAME_RECORDING)
        pairs = [pair for these in candidates for pair in these]
        matches = compare_candidates(prints, candidates)
    done = time.process_time()
    score: dict[frozenset[str], float] = {}
    for match in matches:
        for pair in ((match.first, match.second), (songs[match.first], songs[match.second])):
            score[frozenset(pair)] = max(match.score, score.get(frozenset(pair), 0.0))
    found = defaultdict(list)
    for name, (edit, original) in planted.copies.items():
        found[edit].append(score.get(frozenset((name, original if not as_if else songs[original])), 0.0))
    print(f"{'edit':34s} copies  recall  lowest score  median")
    for edit in (edit for edit in EDITS if edit in found):
        recall = np.mean(np.array(found[edit]) >= SAME_RECORDING)
        print(
            f"{edit:34s} {len(found[edit]):6d}  {recall:6.3f}  {min(found[edit]):12.3f}  {np.median(found[edit]):6.3f}"
        )
    kept = [match for match in matches if match.score >= SAME_RECORDING]
    right = [recording_of[match.first] == recording_of[match.second] for match in kept]
    wrong = [match for match in matches if recording_of[match.first] != recording_of[match.second]]
    for match in wrong[: len(right) - sum(right)]:
        print(f"not one song: {match.first} and {match.second}, score {match.score}")
    result: dict = {"clips": len(prints), "copies": len(planted.copies), "compared_pairs": len(pairs)}
    for name, edits in (("near", NEAR_EDITS), ("far", FAR_EDITS)):
        scores = np.concatenate([found[edit] for edit in edits if edit in found])
        result |= {f"copies_{name}": len(scores), f"recall_{name}": round(float(np.mean(scores >= SAME_RECORDING)), 4)}
        result[f"lowest_score_{name}"] = round(float(scores.min()), 3)
    result |= {"found_pairs": len(kept), "precision": round(float(np.mean(right)), 4)}
    result |= {"highest_score_of_others": max((match.score for match in wrong), default=0.0), "pairs_of_others": others}
    seconds = sum(len(wave) for wave in planted.audio.values()) / SAMPLE_RATE
    result |= {"audio_seconds": round(seconds), "fingerprint_seconds": round(made - begin, 1)}
    return result | {"comparison_seconds": round(done - made, 1)}


def main(argv: list[str] | None = None) -> int:
    """Print recall per edit and precision, and write them."""
    parser = command_parser("benchmarks.fingerprint", __doc__)
    parser.add_argument("--rounds", type=int, default=4, help="copies of every clip (default: 4, so 192 copies)")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--songs", type=Path, help="folder of audio or video files")
    parser.add_argument(
        "--as-if", type=int, nargs="+", default=[1000, 100_000], help="be as strict as in a corpus of so many clips"
    )
    parser.add_argument("--out", type=Path, default=RESULTS)
    args = parser.parse_args(argv)
    corpora = {"demo": plant_in_demo(args.rounds, args.seed)}
    if args.songs:
        corpora["songs"] = plant_in_folder(args.songs, args.rounds, args.seed)
    results = {}
    for corpus, planted in corpora.items():
        for as_if in (0, *args.as_if):
            way = f"{corpus}, candidates as of {as_if} clips" if as_if else f"{corpus}, all pairs"
            print(f"\n{way}")
            results[way] = measure(planted, as_if)
            print(json.dumps(results[way]), flush=True)
            args.out.write_text(json.dumps(results, indent=2) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
