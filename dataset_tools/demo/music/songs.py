"""Songs of the demo corpus: `compose` creates a score from a seed, `synthesise` renders its audio."""

from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
from scipy import signal

from dataset_tools.demo.music import synth
from dataset_tools.demo.music.genres import GENRES, SCALES, VELOCITY, Genre
from dataset_tools.lib.core.errors import UserError

__all__ = ["GENRES", "Event", "Score", "Section", "compose", "synthesise"]

ENERGY = {"intro": 0.42, "verse": 0.6, "chorus": 0.95, "break": 0.3, "outro": 0.4}
LEVEL = {"kick": 1.0, "backbeat": 0.9, "hat": 0.06, "crash": 0.2, "tom": 0.4, "bass": 0.3, "chord": 0.06, "lead": 0.07}
"""Loudness of the voices at velocity 1. Kick and backbeat dominate, so that the onsets of a song are mostly its beats."""


class Event(NamedTuple):
    """One note or drum hit."""

    time: float
    """Seconds from the song's start."""
    voice: str
    """A key of LEVEL."""
    pitch: int
    """MIDI note; 0 for unpitched drums."""
    length: float
    """Seconds; 0 for drums."""
    velocity: float
    """0..1."""


class Section(NamedTuple):
    """A part of the song, from beat `first` to before beat `last`."""

    name: str
    first: int
    last: int


@dataclass(frozen=True, kw_only=True, eq=False)
class Score:
    """A composed song."""

    seed: int
    """Seed of the song, which also varies the instruments."""
    genre: str
    tempo: float
    """Beats per minute."""
    duration: float
    """Seconds."""
    beats: np.ndarray
    """(n,) float64 seconds, exactly 60 / tempo apart. The first beat comes after up to one beat of silence."""
    downbeats: np.ndarray
    """(m,) float64 seconds: every fourth beat, starting with the first."""
    energy: np.ndarray
    """(n,) float64 0..1 for each beat. It controls density and loudness of the music and amplitude of the dance."""
    sections: tuple[Section, ...]
    """Without gaps. The length of all but the last is a multiple of eight beats."""
    events: tuple[Event, ...]
    """Sorted by time."""


def compose(seed: int, genre: str, *, tempo: float | None = None, seconds: float = 60.0) -> Score:
    """Compose a song. Equal arguments give equal scores.

    genre: a key of GENRES. tempo: beats per minute; None draws it from the genre's range.

    Raises UserError for an unknown genre, a tempo outside 40..220, and less than 2 seconds.
    """
    if genre not in GENRES:
        raise UserError(f"unknown genre '{genre}'; known: {', '.join(GENRES)}")
    if tempo is not None and not 40 <= tempo <= 220:
        raise UserError(f"tempo must be 40 to 220 beats per minute, found {tempo}")
    if not seconds >= 2:
        raise UserError(f"a song must last at least 2 seconds, found {seconds}")
    style = GENRES[genre]
    rng = np.random.default_rng([seed, sorted(GENRES).index(genre)])
    drawn = round(float(rng.uniform(*style.tempo)), 2)
    tempo = drawn if tempo is None else float(tempo)
    beat = 60.0 / tempo
    start = float(rng.uniform(0.05, 1.0)) * beat
    beats = start + beat * np.arange(int(np.ceil((seconds - start) / beat)))
    sections = _sections(rng, len(beats), tempo)
    energy = _energy(rng, sections, len(beats))
    song = _SongWriter(rng, style, start, beat)
    for section in sections:
        for first in range(section.first, section.last, 4):
            song.bar(first, section, energy[first : first + 4])
    events = tuple(sorted(e for e in song.events if 0.0 <= e.time < seconds - 0.05))
    return Score(
        seed=seed,
        genre=genre,
        tempo=tempo,
        duration=float(seconds),
        beats=beats,
        downbeats=beats[::4],
        energy=energy,
        sections=sections,
        events=events,
    )


def _sections(rng: np.random.Generator, beats: int, tempo: float) -> tuple[Section, ...]:
    """Intro, then verse, chorus and break in turn. Sections last about 8 to 16 s at any tempo."""
    long = 16 if tempo < 105 else 32
    plan = [("intro", 8)]
    while sum(n for _, n in plan) < beats:
        plan += [("verse", long if rng.random() < 0.6 else 16), ("chorus", long if rng.random() < 0.7 else 16)]
        plan += [("break", 8)] if rng.random() < 0.75 else [("chorus", 16)]
    sections, first = [], 0
    for name, count in plan:
        if first < beats:
            sections.append(Section(name, first, min(first + count, beats)))
        first += count
    if sections[-1].last - sections[-1].first <= 8:
        sections[-1] = sections[-1]._replace(name="outro")
    return tuple(sections)


def _energy(rng: np.random.Generator, sections: tuple[Section, ...], beats: int) -> np.ndarray:
    energy = np.zeros(beats)
    for name, first, last in sections:
        rise = np.linspace(-0.05, 0.07, last - first)
        energy[first:last] = ENERGY[name] + rng.normal(0, 0.05) + rise
    return np.clip(energy + rng.normal(0, 0.02, beats), 0.1, 1.0)


def _draw(rng: np.random.Generator, options: tuple):
    return options[rng.integers(len(options))]


class _SongWriter:
    """Writes a song bar by bar. Its patterns are drawn once and varied by section and energy."""

    def __init__(self, rng: np.random.Generator, style: Genre, start: float, beat: float):
        self.rng, self.style, self.start, self.beat = rng, style, start, beat
        self.events: list[Event] = []
        self.root = int(rng.integers(0, 12))
        self.chords = _draw(rng, style.progressions)
        self.kick = {
            "verse": _draw(rng, style.kicks),
            "chorus": style.kicks[rng.integers(max(1, len(style.kicks) - 1))],
        }
        self.snare = _draw(rng, style.snares)
        steps = np.array(style.melody)
        self.motif = [
            (int(s), int(rng.integers(0, 8)), _draw(rng, (1, 2, 2, 3))) for s in steps[rng.random(len(steps)) < 0.6]
        ]

    def add(
        self, voice: str, beat: float, velocity: float, pitch: int = 0, steps: int = 0, loose: float = 0.004
    ) -> None:
        """Add an event at a fractional beat, with small random deviations of time and velocity."""
        sixteenth = round(beat * 4)
        swing = self.style.swing * 0.25 if sixteenth % 2 else 0.0
        late = float(np.clip(self.rng.normal(0, loose), -2 * loose, 2 * loose))
        velocity = float(np.clip(velocity * self.rng.normal(1.0, 0.07), 0.02, 1.0))
        time = self.start + (beat + swing) * self.beat + late
        self.events.append(Event(time, voice, pitch, steps * self.beat / 4, velocity))

    def pattern(self, voice: str, first: int, line: str, gain: float, until: int = 16) -> None:
        for step, mark in enumerate(line[:until]):
            if mark in VELOCITY:
                self.add(voice, first + step / 4, gain * VELOCITY[mark])

    def scale(self, degree: int, octave: int) -> int:
        """MIDI note of a scale degree."""
        notes = SCALES[self.style.scale]
        up, step = divmod(degree, len(notes))
        return 12 * (octave + 1 + up) + self.root + notes[step]

    def bar(self, first: int, section: Section, energy: np.ndarray) -> None:
        """Add a bar of four beats from beat `first` on."""
        rng, name, power = self.rng, section.name, float(energy.mean())
        chorus = name == "chorus"
        last = first + 4 >= section.last
        gain = 0.55 + 0.45 * power
        quiet = name in ("intro", "break", "outro")
        turn = (first - section.first) // 4
        fill = last and not quiet and rng.random() < 0.8
        drums_until = 12 if fill else 16
        kick_out = name == "break" or (name == "intro" and turn == 0 and rng.random() < 0.5)
        kick = self.kick["chorus" if chorus else "verse"]
        if not kick_out:
            self.pattern("kick", first, kick, gain, 8 if last and not chorus and rng.random() < 0.3 else drums_until)
        if name != "intro" or turn:
            self.pattern("backbeat", first, self.snare, gain * (0.75 if quiet else 1.0), drums_until)
        if power > 0.35:
            self.pattern("hat", first, self.style.hats[power > 0.75], gain, drums_until)
        if fill:
            self.fill(first, gain)
        if turn == 0 and chorus:
            self.add("crash", first, gain)
        self.harmony(first, name, gain, power)

    def fill(self, first: int, gain: float) -> None:
        """Add a drum fill on the last beat of a section."""
        line = ("x.x.", "x.xx", "x..x", "xxxx")[self.rng.integers(4)]
        voice = ("backbeat", "tom")[self.rng.integers(2)]
        for step, mark in enumerate(line):
            if mark == "x":
                size = gain * (0.9 if step == 0 else 0.5 + 0.1 * step)
                self.add("backbeat" if step == 0 else voice, first + 3 + step / 4, size, 50 - 3 * step)

    def harmony(self, first: int, name: str, gain: float, power: float) -> None:
        """Add bass, chords and melody of a bar."""
        bar = first // 4
        degree = self.chords[bar % 4]
        if name not in ("break",) or self.rng.random() < 0.5:
            for step, up, steps in self.style.bass:
                if power > 0.5 or step % 8 == 0 or self.rng.random() < 0.5:
                    self.add(
                        "bass", first + step / 4, 0.9 * gain, self.scale(degree + up, 1 if self.root > 3 else 2), steps
                    )
        for step, steps in self.style.chords if power > 0.45 else ((0, 16),):
            for third in (0, 2, 4):
                self.add("chord", first + step / 4, 0.8 * gain, self.scale(degree + third, 3), steps)
        if name in ("chorus", "break") or (name == "verse" and bar % 4 >= 2):
            half = 16 * (bar % 2)
            for step, up, steps in self.motif:
                if half <= step < half + 16:
                    pitch = self.scale(degree + 2 * (up // 2) if step % 8 == 0 else up, 4)
                    self.add("lead", first + (step - half) / 4, 0.8 * gain, pitch, steps, loose=0.008)


def synthesise(score: Score, sample_rate: int = 44100) -> np.ndarray:
    """Render the audio of a score: mono float32 (S,) in -1..1, S = round(duration * sample_rate), without frequencies above 9 kHz.

    The whole song has one gain, so that its calm parts are quieter than its choruses.
    """
    style = GENRES[score.genre]
    rng = np.random.default_rng([score.seed, 77])
    drum = {"snare": synth.snare, "clap": synth.clap}[style.backbeat]
    hit = drum(rng, sample_rate, **_vary_kit(rng, style.snare))
    shots = {
        ("kick", 0, 0.0): synth.kick(rng, sample_rate, **_vary_kit(rng, style.kick)),
        ("hat", 0, 0.0): synth.hat(rng, sample_rate, **_vary_kit(rng, style.hat)),
        ("crash", 0, 0.0): synth.crash(rng, sample_rate),
    }
    size = round(score.duration * sample_rate)
    buses = {name: np.zeros(size, np.float32) for name in ("drums", "music")}
    for event in score.events:
        key = (event.voice, event.pitch, round(event.length, 6))
        if event.voice == "backbeat":
            shot = hit
        elif key in shots:
            shot = shots[key]
        elif event.voice == "tom":
            shot = shots[key] = synth.tom(rng, sample_rate, pitch=event.pitch)
        else:
            shot = shots[key] = synth.note(sample_rate, style.timbres[event.voice], event.pitch, event.length)
        at = round(event.time * sample_rate)
        bus = buses["music" if event.voice in ("bass", "chord", "lead") else "drums"]
        shot = shot[: size - at]
        bus[at : at + len(shot)] += np.float32(event.velocity * LEVEL[event.voice]) * shot
    music = buses["music"] * _ducking(score, sample_rate, size, style.duck)
    wet = signal.oaconvolve(music + 0.3 * buses["drums"], synth.room(rng, sample_rate, 0.6))[:size]
    mix = buses["drums"] + music + 0.2 * wet
    mix = np.tanh(1.1 * mix / np.percentile(np.abs(mix[::7]), 99.7))
    lowpass = signal.butter(6, min(synth.CEILING, 0.45 * sample_rate), fs=sample_rate, output="sos")
    mix = signal.sosfilt(lowpass, mix)
    return (0.89 * mix / max(1e-9, np.abs(mix).max())).astype(np.float32)


def _vary_kit(rng: np.random.Generator, values: dict[str, float]) -> dict[str, float]:
    """Parameters of a song's own drum kit, which differ from the genre's by up to about an eighth."""
    return {name: value * rng.uniform(0.88, 1.14) for name, value in values.items()}


def _ducking(score: Score, rate: int, size: int, depth: float) -> np.ndarray:
    """Gain of the music, which drops at each kick and recovers within a fifth of a second."""
    dip = (depth * np.exp(-np.arange(int(0.3 * rate)) / (0.09 * rate))).astype(np.float32)
    gain = np.ones(size, np.float32)
    for event in score.events:
        if event.voice == "kick":
            at = round(event.time * rate)
            part = gain[at : at + len(dip)]
            np.minimum(part, 1 - dip[: len(part)] * np.float32(event.velocity), out=part)
    return gain
