"""Measures recall and precision of the audio fingerprint with planted duplicates in the demo corpus.

    python -m benchmarks.fingerprint

Each clip of the demo manifest is used twice: unchanged, and under another song id, cut from another place of the same song (60 to
85 % in common, at least 3 s) and edited like in compilations. All pairs of clips with different song ids are compared. Recall is
the share of copies whose original is found; precision is the share of found pairs that are of one song. The demo's songs are
hard negatives: there are four per genre, which share synth voices, drum patterns and chords.
"""

import io
import time
from collections import defaultdict
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
from dataset_tools.lib.core.timebase import SAMPLE_RATE
from dataset_tools.split.fingerprint import SAME_RECORDING, find_same_recordings, fingerprint

ROOT = Path(__file__).resolve().parents[1]

LEAST = 0.2  # lowest listed score, to show the margin around SAME


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


EDITS = {
    "cut elsewhere": lambda x: x,
    "mp3 64 kbit/s": lambda x: transcode(x, "libmp3lame", 64000),
    "aac 48 kbit/s": lambda x: transcode(x, "aac", 48000),
    "speed + 6 %": lambda x: speed_up(x, 1.06),
    "speed - 6 %": lambda x: speed_up(x, 0.94),
    "speed + 2.5 %": lambda x: speed_up(x, 1.025),
    "tempo + 6 %": lambda x: change_tempo(x, 1.06),
    "tempo - 6 %": lambda x: change_tempo(x, 0.94),
    "tempo - 3.5 %": lambda x: change_tempo(x, 0.965),
    **{
        f"speed x {ratio}": lambda x, ratio=ratio: speed_up(x, ratio)
        for ratio in (0.8, 0.85, 0.92, 1.08, 1.15, 1.2, 1.25, 1.3)
    },
    "speed x 1.27, mp3, noise at 15 dB": lambda x: add_noise(transcode(speed_up(x, 1.27), "libmp3lame", 64000), 15),
    **{f"tempo x {ratio}": lambda x, ratio=ratio: change_tempo(x, ratio) for ratio in (0.8, 0.9, 1.1, 1.25)},
    "pitch + 1 semitone": lambda x: shift_pitch(x, 1),
    "pitch - 1 semitone": lambda x: shift_pitch(x, -1),
    "noise at 10 dB": lambda x: add_noise(x, 10),
    "speed + 6 %, mp3, noise at 15 dB": lambda x: add_noise(transcode(speed_up(x, 1.06), "libmp3lame", 64000), 15),
}


def plant_copies(rounds: int, seed: int) -> tuple[dict[str, np.ndarray], dict[str, str], dict[str, tuple[str, str]]]:
    """({name: audio}, {name: song id}, {name of a copy: (edit, name of its original)})."""
    manifest = load_manifest(ROOT / "manifests" / "demo", clip=CompilationClip)
    songs = {song.song_id: song for song in manifest.songs}
    music = {
        name: soxr.resample(synthesise(compose_song(song, seed)), SONG_RATE, SAMPLE_RATE)
        for name, song in songs.items()
    }
    rng, edits = np.random.default_rng(seed), list(EDITS)
    audio, group_of, copies = {}, {}, {}
    for number, clip in enumerate(manifest.clips):
        whole, start = music[clip.song_id], round(clip.song_start * SAMPLE_RATE)
        length = round((clip.end - clip.start) * SAMPLE_RATE)
        audio[clip.clip_id], group_of[clip.clip_id] = whole[start : start + length], clip.song_id
        for again in range(rounds):
            edit = edits[(number * rounds + again) % len(edits)]
            most = min(0.4, 1 - 3.3 * SAMPLE_RATE / length)
            moved = start + int(rng.uniform(0.15, max(0.16, most)) * length) * int(rng.choice([-1, 1]))
            moved = int(np.clip(moved, 0, len(whole) - length))
            name = f"{clip.clip_id}-{again}"
            audio[name] = EDITS[edit](whole[moved : moved + length])
            group_of[name], copies[name] = f"{clip.song_id}-{edit}", (edit, clip.clip_id)
    return audio, group_of, copies


def main(argv: list[str] | None = None) -> int:
    """Print recall per edit and precision."""
    parser = command_parser("benchmarks.fingerprint", __doc__)
    parser.add_argument("--rounds", type=int, default=3, help="copies of every clip (default: 3, so 144 copies)")
    parser.add_argument("--seed", type=int, default=1)
    args = parser.parse_args(argv)
    audio, group_of, copies = plant_copies(args.rounds, args.seed)
    begin = time.perf_counter()
    prints = {name: fingerprint(wave) for name, wave in audio.items()}
    made = time.perf_counter()
    matches = find_same_recordings(prints, group_of, LEAST)
    done = time.perf_counter()
    score = {frozenset((match.first, match.second)): match.score for match in matches}
    found = defaultdict(list)
    for name, (edit, original) in copies.items():
        found[edit].append(score.get(frozenset((name, original)), 0.0))
    print(f"{'edit':34s} copies  recall  lowest score  median")
    for edit, scores in found.items():
        recall = np.mean(np.array(scores) >= SAME_RECORDING)
        print(f"{edit:34s} {len(scores):6d}  {recall:6.3f}  {min(scores):12.3f}  {np.median(scores):6.3f}")
    everything = np.concatenate(list(found.values()))
    song_of = {name: group.split("-")[0] for name, group in group_of.items()}
    right = [m.score for m in matches if song_of[m.first] == song_of[m.second]]
    wrong = [m.score for m in matches if song_of[m.first] != song_of[m.second]]
    names = sorted(audio)
    pairs = sum(song_of[a] != song_of[b] for i, a in enumerate(names) for b in names[:i])
    true, false = sum(s >= SAME_RECORDING for s in right), sum(s >= SAME_RECORDING for s in wrong)
    print(
        f"recall {np.mean(everything >= SAME_RECORDING):.3f} of {len(everything)} copies at a score of {SAME_RECORDING} or more"
    )
    print(f"precision {true / max(1, true + false):.4f}: {true} pairs found are of one song, {false} are not")
    print(f"highest score of {pairs} pairs of different songs: {max(wrong, default=0):.3f}")
    seconds = sum(len(wave) for wave in audio.values()) / SAMPLE_RATE
    print(f"{len(audio)} clips, {seconds:.0f} s: fingerprints {made - begin:.1f} s, comparison {done - made:.1f} s")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
