"""Write and read Standard MIDI Files. Equal notes are written as equal bytes, and untrusted files can be read.

Time and memory for reading are proportional to the size of the file. Files beyond `limits` are refused.
"""

import io
from collections.abc import Iterable
from itertools import zip_longest
from pathlib import Path
from typing import Any, NamedTuple

from dataset_tools.lib.core import limits
from dataset_tools.lib.core.atomic import atomic_write
from dataset_tools.lib.core.errors import UserError

TICKS_PER_BEAT = 960  # ticks per beat: half a millisecond at 120 beats per minute
DRUM_CHANNEL = 9  # the channel of percussion (General MIDI)
MELODIC_CHANNELS = tuple(c for c in range(16) if c != DRUM_CHANNEL)


class Note(NamedTuple):
    """One note or drum hit."""

    start: float
    """Seconds."""
    end: float
    """Seconds, after `start`."""
    pitch: int
    """MIDI note 0..127; for a drum, its number in the General MIDI percussion map."""
    velocity: int
    """1..127."""
    program: int = 0
    """General MIDI program, counted from 0 (a grand piano); for drums, the kit."""
    drum: bool = False


class MidiScore(NamedTuple):
    """Content of a MIDI file."""

    notes: list[Note]
    """Sorted."""
    bars: list[float]
    """Start times of the bars, in seconds, by the file's tempi and time signatures, up to the first one after the last note."""


def assign_channels(notes: Iterable[Note]) -> dict[tuple[bool, int], int]:
    """(drum, program) -> MIDI channel 0..15. Raises ValueError for more than 15 instruments besides the drums, or two drum kits."""
    kinds = sorted({(note.drum, note.program) for note in notes})
    kits, instruments = [k for k in kinds if k[0]], [k for k in kinds if not k[0]]
    if len(kits) > 1 or len(instruments) > len(MELODIC_CHANNELS):
        raise ValueError(f"{len(instruments)} instruments and {len(kits)} drum kits; MIDI has channels for 15 and 1")
    return dict(zip(instruments, MELODIC_CHANNELS, strict=False)) | {kit: DRUM_CHANNEL for kit in kits}


def split_overlaps(notes: Iterable[Note]) -> list[Note]:
    """The notes, sorted and without overlaps of the same pitch on one instrument, which a MIDI channel cannot hold: the earlier
    note ends where the later one starts. Of notes with the same start the loudest stays."""
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
    """Write a format 1 file in 4/4, one track for each instrument, atomically.

    tempo: beats per minute.
    first_bar: seconds at which the first whole bar begins; a shorter bar before it fills the time from 0.
    Times are rounded to ticks of about half a millisecond.
    """
    import mido

    beat = round(60e6 / tempo)  # microseconds, as in the file
    lead = 4 * max(1, round(first_bar * 1e6 / 4)) if first_bar > 0 else 0  # microseconds of the bar before the first
    lead_ticks = 4 * TICKS_PER_BEAT if lead else 0

    def ticks(seconds: float) -> int:
        time = max(0.0, seconds * 1e6)
        return (
            round(time / lead * lead_ticks)
            if time < lead
            else lead_ticks + round((time - lead) / beat * TICKS_PER_BEAT)
        )

    time_track = [(0, mido.MetaMessage("time_signature", numerator=4, denominator=4))]
    time_track += [(0, mido.MetaMessage("set_tempo", tempo=lead // 4))] if lead else []
    time_track.append((lead_ticks, mido.MetaMessage("set_tempo", tempo=beat)))
    tracks, notes = [time_track], split_overlaps(notes)
    for (drum, program), channel in assign_channels(notes).items():
        events = [(0, mido.Message("program_change", channel=channel, program=program))]
        struck = []
        for note in (n for n in notes if (n.drum, n.program) == (drum, program)):
            on, off = ticks(note.start), ticks(note.end)
            struck.append((on, 1, note.pitch, note.velocity))
            struck.append((max(off, on + 1), 0, note.pitch, 0))
        for tick, kind, pitch, velocity in sorted(struck):  # at the same tick, notes end before others start
            events.append(
                (tick, mido.Message("note_on" if kind else "note_off", channel=channel, note=pitch, velocity=velocity))
            )
        tracks.append(events)
    write_tracks(path, tracks)


def write_tracks(path: Path, tracks: Iterable[list[tuple[int, Any]]]) -> None:
    """Write a format 1 file atomically. tracks: the events of each, in order, as (tick, mido message), with `TICKS_PER_BEAT` ticks per
    beat, counted from the start of the file."""
    import mido

    midi = mido.MidiFile(type=1, ticks_per_beat=TICKS_PER_BEAT)
    for events in tracks:
        before = 0
        track = midi.add_track()
        for tick, message in events:
            track.append(message.copy(time=tick - before))
            before = tick
    buffer = io.BytesIO()
    midi.save(file=buffer)
    with atomic_write(path) as temporary:
        temporary.write_bytes(buffer.getvalue())


def read_midi(path: Path) -> list[Note]:
    """The notes of a MIDI file, sorted. Raises as `read_score`."""
    return read_score(path).notes


def read_score(path: Path) -> MidiScore:
    """Notes and bars of a Standard MIDI File.

    Raises UserError for a missing file, one beyond `limits` (size, an hour of music), one that is no MIDI file or damaged,
    format 2 (tracks of unrelated songs), and time that is not counted in beats.
    """
    import mido

    path = limits.check_regular_file(path, limits.MIDI_BYTES)
    try:
        midi = mido.MidiFile(path, clip=True)
        merged = list(mido.merge_tracks(midi.tracks)) if midi.type < 2 else None
    except Exception as err:  # noqa: BLE001 - any error of the parser on an untrusted file
        raise UserError(
            f"{path}: not a readable MIDI file ({type(err).__name__}: {limits.printable(str(err))}); leave it out or write it again"
        ) from None
    if merged is None or midi.ticks_per_beat <= 0:
        raise UserError(
            f"{path}: {'format 2' if merged is None else 'time in SMPTE frames'} is not read; save it as format 0 or 1 with beats"
        )
    return _collect_notes(path, merged, midi.ticks_per_beat)


def _collect_notes(path: Path, messages: list, resolution: int) -> MidiScore:
    """Notes and bars of messages; the `time` of each is in ticks since the previous one."""
    notes: list[Note] = []
    programs = [0] * 16
    sounding: dict[tuple[int, int], tuple[float, int, int]] = {}
    bars, next_bar, bar = [], 0.0, 4.0 * resolution  # ticks
    tick, time, beat = 0, 0.0, 0.5  # seconds at `tick`; seconds per beat

    def end(key: tuple[int, int]) -> None:
        start, velocity, program = sounding.pop(key)
        if time > start:
            notes.append(Note(start, time, key[1], velocity, program, key[0] == DRUM_CHANNEL))

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
    for key in list(sounding):  # notes without a note-off end with the file
        end(key)
    last = max((note.end for note in notes), default=0.0)
    kept = [b for b in bars if b < last]
    after = time + (next_bar - tick) * beat / resolution
    return MidiScore(sorted(notes), [*kept, *(bars[len(kept) : len(kept) + 1] or [after])] if notes else [])
