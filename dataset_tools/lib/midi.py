"""Scores as Standard MIDI Files: written with equal bytes for equal notes, read from anywhere.

Reading takes time and memory in proportion to the file, whatever is in it; what is beyond `limits` is refused.
"""

import io
from collections.abc import Iterable
from itertools import zip_longest
from pathlib import Path
from typing import NamedTuple

from dataset_tools.lib.core import limits
from dataset_tools.lib.core.atomic import write_aside
from dataset_tools.lib.core.errors import UserError

RESOLUTION = 960  # ticks per beat: half a millisecond at 120 beats per minute
DRUMS = 9  # the channel of percussion (General MIDI)
CHANNELS = tuple(c for c in range(16) if c != DRUMS)


class Note(NamedTuple):
    """One note or stroke."""

    start: float
    """Seconds."""
    end: float
    """Seconds, after `start`."""
    pitch: int
    """MIDI note 0..127; of a drum, its number in General MIDI's percussion map."""
    velocity: int
    """1..127."""
    program: int = 0
    """General MIDI instrument, counted from 0 (a grand piano); of drums, the kit."""
    drum: bool = False


class MidiScore(NamedTuple):
    """What a MIDI file holds."""

    notes: list[Note]
    """Sorted."""
    bars: list[float]
    """Seconds: where bars begin by the file's tempi and time signatures, up to the first after the last note."""


def channels(notes: Iterable[Note]) -> dict[tuple[bool, int], int]:
    """(drum, program) -> MIDI channel 0..15. ValueError for more than 15 instruments besides the drums, or two kits."""
    kinds = sorted({(note.drum, note.program) for note in notes})
    kits, instruments = [k for k in kinds if k[0]], [k for k in kinds if not k[0]]
    if len(kits) > 1 or len(instruments) > len(CHANNELS):
        raise ValueError(f"{len(instruments)} instruments and {len(kits)} drum kits; MIDI has channels for 15 and 1")
    return dict(zip(instruments, CHANNELS, strict=False)) | {kit: DRUMS for kit in kits}


def apart(notes: Iterable[Note]) -> list[Note]:
    """The notes sorted; one that sounds when the same pitch of its instrument is struck again ends there, for a
    channel has each pitch once. Of notes struck together the loudest stays."""
    found: dict[tuple, dict[float, Note]] = {}
    for note in sorted(notes, key=lambda n: (n.start, n.velocity, n.end)):
        found.setdefault((note.drum, note.program, note.pitch), {})[note.start] = note
    result = []
    for struck in found.values():
        together = list(struck.values())
        for note, after in zip_longest(together, together[1:]):
            result.append(note if after is None or note.end <= after.start else note._replace(end=after.start))
    return sorted(result)


def write_midi(path: Path, notes: Iterable[Note], tempo: float = 120.0, first_bar: float = 0.0) -> None:
    """Write a format 1 file in 4/4, one track for each instrument; complete or absent.

    tempo : beats per minute, as written. first_bar : seconds at which the first whole bar begins; a shorter bar before
    it fills the time from 0. Times are rounded to the tick, about half a millisecond.
    """
    import mido

    beat = round(60e6 / tempo)  # microseconds, as the file holds them
    lead = 4 * max(1, round(first_bar * 1e6 / 4)) if first_bar > 0 else 0  # microseconds of the bar before the first
    lead_ticks = 4 * RESOLUTION if lead else 0

    def ticks(seconds: float) -> int:
        time = max(0.0, seconds * 1e6)
        return round(time / lead * lead_ticks) if time < lead else lead_ticks + round((time - lead) / beat * RESOLUTION)

    time_track = [(0, mido.MetaMessage("time_signature", numerator=4, denominator=4))]
    time_track += [(0, mido.MetaMessage("set_tempo", tempo=lead // 4))] if lead else []
    time_track.append((lead_ticks, mido.MetaMessage("set_tempo", tempo=beat)))
    tracks, notes = [time_track], apart(notes)
    for (drum, program), channel in channels(notes).items():
        events = [(0, mido.Message("program_change", channel=channel, program=program))]
        struck = []
        for note in (n for n in notes if (n.drum, n.program) == (drum, program)):
            on, off = ticks(note.start), ticks(note.end)
            struck.append((on, 1, note.pitch, note.velocity))
            struck.append((max(off, on + 1), 0, note.pitch, 0))
        for tick, kind, pitch, velocity in sorted(struck):  # at one tick notes end before others begin
            events.append(
                (tick, mido.Message("note_on" if kind else "note_off", channel=channel, note=pitch, velocity=velocity))
            )
        tracks.append(events)
    midi = mido.MidiFile(type=1, ticks_per_beat=RESOLUTION)
    for events in tracks:
        before = 0
        track = midi.add_track()
        for tick, message in events:
            track.append(message.copy(time=tick - before))
            before = tick
    buffer = io.BytesIO()
    midi.save(file=buffer)
    with write_aside(path) as aside:
        aside.write_bytes(buffer.getvalue())


def read_midi(path: Path) -> list[Note]:
    """The notes of a MIDI file, sorted. Raises as `read_score`."""
    return read_score(path).notes


def read_score(path: Path) -> MidiScore:
    """Notes and bars of a Standard MIDI File.

    Raises UserError: no such file, too large, no MIDI file or a damaged one, format 2 (tracks of unrelated songs) or
    time that is not counted in beats, longer than an hour.
    """
    import mido

    path = limits.regular_file(path, limits.MIDI_BYTES)
    try:
        midi = mido.MidiFile(path, clip=True)
        merged = list(mido.merge_tracks(midi.tracks)) if midi.type < 2 else None
    except Exception as err:  # noqa: BLE001 - whatever the parser trips over in a file from anywhere
        raise UserError(
            f"{path}: not a readable MIDI file ({type(err).__name__}: {limits.shown(str(err))}); leave it out or write it again"
        ) from None
    if merged is None or midi.ticks_per_beat <= 0:
        raise UserError(
            f"{path}: {'format 2' if merged is None else 'time in SMPTE frames'} is not read; save it as format 0 or 1 with beats"
        )
    return _heard(path, merged, midi.ticks_per_beat)


def _heard(path: Path, messages: list, resolution: int) -> MidiScore:
    """Notes and bars of messages whose `time` is ticks since the one before."""
    notes: list[Note] = []
    programs = [0] * 16
    sounding: dict[tuple[int, int], tuple[float, int, int]] = {}
    bars, next_bar, bar = [], 0.0, 4.0 * resolution  # ticks
    tick, time, beat = 0, 0.0, 0.5  # seconds at `tick`; seconds per beat

    def end(key: tuple[int, int]) -> None:
        start, velocity, program = sounding.pop(key)
        if time > start:
            notes.append(Note(start, time, key[1], velocity, program, key[0] == DRUMS))

    for message in messages:
        span = message.time * beat / resolution
        if time + span > limits.MIDI_SECONDS:
            raise UserError(f"{path}: lasts over {limits.MIDI_SECONDS / 3600:g} h; cut it into its songs")
        while next_bar < tick + message.time:
            if len(bars) >= limits.MIDI_BARS:
                raise UserError(f"{path}: over {limits.MIDI_BARS} bars; write it again with another time signature")
            bars.append(time + (next_bar - tick) * beat / resolution)
            next_bar += bar
        tick, time = tick + message.time, time + span
        if message.type == "set_tempo":
            beat = message.tempo / 1e6
        elif message.type == "time_signature":
            bar = 4.0 * resolution * message.numerator / message.denominator or bar
            next_bar = float(tick)
        elif message.type == "program_change":
            programs[message.channel] = message.program
        elif message.type in ("note_on", "note_off"):
            key = (message.channel, message.note)
            if key in sounding:
                end(key)
            if message.type == "note_on" and message.velocity:
                sounding[key] = (time, message.velocity, programs[message.channel])
    for key in list(sounding):  # never ended: they end with the file
        end(key)
    last = max((note.end for note in notes), default=0.0)
    kept = [b for b in bars if b < last]
    after = time + (next_bar - tick) * beat / resolution
    return MidiScore(sorted(notes), [*kept, *(bars[len(kept) : len(kept) + 1] or [after])] if notes else [])
