"""Reads earlier takes bit-exactly and generates parts of them again."""

import dataclasses
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import numpy as np

from d2m_model.generate.finish import normalise
from d2m_model.generate.generators import Dance, PriorGenerator
from d2m_model.generate.params import Params
from d2m_model.generate.regions import Region, splice
from d2m_model.generate.regions import made_again as regions_made_again
from d2m_model.training.shard_data import peak_gain
from dataset_tools.lib.audio.audio_file import read_samples
from dataset_tools.lib.core.errors import Unreadable, UserError
from dataset_tools.lib.core.timebase import HOPS, LEVELS, SAMPLE_RATE, SAMPLES_PER_FRAME, frames_to_samples

FADE = 0.03
"""Seconds of the cross-fade at each end of a new part, within its region."""
FULL = 32767
MIDST = 4.0
"""Seconds before a region to which the loudness of the new part is matched."""


@dataclass(frozen=True, kw_only=True)
class Again:
    """A take that `generate` wrote, and the seconds of it to generate again: those of `redo`, or all but those of `keep`."""

    take: Path
    redo: str | None = None
    keep: str | None = None

    def made(self, generator: PriorGenerator, dance: Dance, params: Params) -> np.ndarray:
        """`made_again` of the file. Raises UserError as that and `regions`."""
        return made_again(generator, dance, params, self.audio, self.regions())

    def regions(self) -> list[Region]:
        """The regions to generate again. Raises UserError as `read_take` and `regions.made_again`."""
        return regions_made_again(self.redo, self.keep, len(self.audio) / SAMPLE_RATE)

    @cached_property
    def audio(self) -> np.ndarray:
        """The file's audio (S,), read once."""
        return read_take(self.take)


def read_take(path: Path) -> np.ndarray:
    """The audio (S,) float32 of a .wav that `generate` wrote. Raises UserError for any other file."""
    try:
        take = read_samples(path, dtype="int16")
    except Unreadable as err:
        raise UserError(
            f"{path}: not a readable .wav; --from takes a .wav that generate wrote ({err.reason})"
        ) from None
    if (take.kind, take.channels, take.rate) != ("WAV PCM_16", 1, SAMPLE_RATE):
        raise UserError(
            f"{path}: --from takes a .wav that generate wrote (16 bits, mono, {SAMPLE_RATE} Hz), found {take.kind}, {take.channels} channels, {take.rate} Hz"
        )
    return take.audio[:, 0].astype(np.float32) / FULL


def made_again(
    generator: PriorGenerator, dance: Dance, params: Params, audio: np.ndarray, regions: Sequence[Region]
) -> np.ndarray:
    """A take (S,) with these regions generated again: each continues the music before it, follows the dance's beats, and has the
    loudness of the music before. Outside of the regions no sample changes. Raises UserError for a take of another length."""
    wanted = frames_to_samples(dance.frames)
    if len(audio) != wanted:
        raise UserError(
            f"--from: the take lasts {len(audio) / SAMPLE_RATE:.2f} s, but the dance {wanted / SAMPLE_RATE:.2f} s; name the take of this dance"
        )
    gain = peak_gain(audio)  # as in the training of the codec
    for region in regions:
        first = round(region[0] * SAMPLE_RATE)
        kept = {level: generator.player.encode(audio[:first] * gain, level) for level in {"high", generator.level}}
        kept = {level: codes[: first // HOPS[2] * HOPS[2] // HOPS[LEVELS[level]]] for level, codes in kept.items()}
        short = dataclasses.replace(
            dance, frames=min(dance.frames, -(-round(region[1] * SAMPLE_RATE) // SAMPLES_PER_FRAME))
        )
        raw, _ = generator.raw(short, params, kept)
        new = np.zeros_like(audio)
        new[: len(raw)] = raw * _gain(raw, audio, first, params)
        audio = splice(audio, new, region, FADE)
    return audio


def _gain(raw: np.ndarray, audio: np.ndarray, first: int, params: Params) -> np.float32:
    """The gain that brings `raw` to the loudness of the take in the `MIDST` before sample `first`; at the start of the take, to that of
    new music."""
    before = slice(max(0, first - round(MIDST * SAMPLE_RATE)), first)
    there, here = (
        float(np.sqrt(np.mean(np.square(wave[before], dtype=np.float64)))) if first else 0.0 for wave in (audio, raw)
    )
    if min(there, here) > 1e-4:
        return np.float32(min(there / here, params.peak / max(1e-4, float(np.abs(raw[first:]).max(initial=1e-4)))))
    loud = normalise(raw, params.loudness, params.peak)
    return np.float32(np.abs(loud).max() / max(1e-9, float(np.abs(raw).max())))
