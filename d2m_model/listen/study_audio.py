"""The audio of a study: the music of each system for each dance, at one loudness, and the tones of the checks.

All are float32 at 22 050 Hz: music mono (S,), the headphone test stereo (S, 2).
"""

from collections.abc import Mapping, Sequence
from typing import TypeVar

import numpy as np

from d2m_model.listen.design import ORDERS
from d2m_model.metrics.controls import CONTROLS, control_audio, training_song_sampler
from d2m_model.metrics.inputs import read_audio
from d2m_model.metrics.systems import RECONSTRUCTED, named_systems
from dataset_tools.lib.core.errors import UserError
from dataset_tools.lib.core.layout import Layout
from dataset_tools.lib.core.timebase import LEVELS, SAMPLE_RATE
from dataset_tools.lib.core.work_cache import file_sha256, item_key
from dataset_tools.lib.shard_io.shard_set import ShardSet

K = TypeVar("K")
TRUTH, MISMATCHED, TRAINING_SONG = CONTROLS[:3]
HEADROOM = 0.9  # highest sample before AAC encoding, which may raise peaks slightly
SILENT = -70.0  # LUFS: the gate of ITU-R BS.1770; audio below is silence


def systems_of(layout: Layout, chosen: Sequence[str] = ()) -> dict[str, list[str]]:
    """{task: systems}: hidden ground truth, the chosen systems and VQ reconstructions; for coherence also the music of another song,
    the anchor at the lower end of the scale. For quality that would be ground truth again.

    chosen: systems and controls, named as in Table 1; empty: all that params.yaml names. UserError for an unknown name.
    """
    known = named_systems(layout)
    coded = [
        f"{RECONSTRUCTED} {level}" for level in LEVELS if (layout.stage("synthesizer") / level / "model.pt").is_file()
    ]
    for name in chosen:
        if name not in (there := [*known, *CONTROLS, *coded]):
            raise UserError(f"listen.systems: no system '{name}'; there are: {', '.join(there)}")
    rated = [name for name in chosen or known if name not in (MISMATCHED, *coded)]
    both = list(dict.fromkeys([TRUTH, *rated, *coded]))
    return {"coherence": [*both, MISMATCHED], "quality": both}


def study_key(layout: Layout, split: str, systems: list[str], clips: list[str]) -> str:
    """Hash of the files that the study's audio comes from, because votes on other audio could not be combined."""
    shards, known = layout.stage("shards"), named_systems(layout)
    files = sorted(shards.glob(f"{split}-*.h5"))
    for system in systems:
        if system.startswith(RECONSTRUCTED):
            files.append(layout.stage("synthesizer") / system.removeprefix(RECONSTRUCTED).strip() / "model.pt")
        elif system == TRAINING_SONG:
            files += sorted(shards.glob("train-*.h5"))
        elif system in known:
            music = known[system]
            made = [music.folder / f"{clip}.wav" for clip in clips]
            if missing := [path for path in made if not path.is_file()]:
                raise UserError(f"{missing[0]}: file not found; {music.remedy(split)}")
            files += made
    return item_key(1, *(file_sha256(f) for f in files))


def system_audio(layout: Layout, shards: ShardSet, system: str, clips: list[str], seed: int) -> dict[str, np.ndarray]:
    """{clip: audio (S,)} of one system, each as long as the clip and padded with silence if shorter. Raises UserError where a file
    is missing."""
    own = {c.clip_id: shards.read(c.clip_id, 0, c.frames).audio for c in shards.clips}
    if system.startswith(RECONSTRUCTED):
        return _reconstructed(layout, system.removeprefix(RECONSTRUCTED).strip(), {clip: own[clip] for clip in clips})
    if system in CONTROLS:
        draw = training_song_sampler(ShardSet(layout.stage("shards"), "train")) if system == TRAINING_SONG else None
        made = control_audio(own, {c.clip_id: c.song for c in shards.clips}, seed, draw).get(system, {})
        if not made.keys() >= set(clips):
            raise UserError(
                f"{layout.stage('shards')}: all {shards.split} clips have one song; mismatched music needs a second one"
            )
        return {clip: made[clip] for clip in clips}
    folder = named_systems(layout)[system].folder
    audio = {clip: read_audio(folder / f"{clip}.wav") for clip in clips}
    return {clip: np.pad(a, (0, max(0, len(own[clip]) - len(a))))[: len(own[clip])] for clip, a in audio.items()}


def _reconstructed(layout: Layout, level: str, own: dict[str, np.ndarray]) -> dict[str, np.ndarray]:
    from d2m_model.metrics.reconstruction import reconstruct
    from d2m_model.training.vqvae_files import load_vqvae

    return reconstruct(load_vqvae(layout.stage("synthesizer") / level / "model.pt"), LEVELS[level], own)


def loudness_gains(audio: Mapping[K, np.ndarray], target: float) -> tuple[dict[K, float], float]:
    """({name: gain}, loudness): gains that bring all audio to one loudness (ITU-R BS.1770): `target` LUFS or, if one excerpt would
    clip, the highest loudness at which none does. Silent and too short excerpts keep a gain of 1."""
    import pyloudnorm

    meter = pyloudnorm.Meter(SAMPLE_RATE)
    found = {
        name: meter.integrated_loudness(np.asarray(wave, np.float64))
        for name, wave in audio.items()
        if len(wave) >= 0.4 * SAMPLE_RATE
    }
    found = {name: lufs for name, lufs in found.items() if lufs > SILENT}
    peaks = {name: float(np.abs(audio[name]).max()) for name in found}
    room = [20 * np.log10(HEADROOM / peaks[name]) + lufs for name, lufs in found.items()]
    level = float(min([target, *room]))
    return {name: 10 ** ((level - found[name]) / 20) if name in found else 1.0 for name in audio}, level


def tone(frequency: float, seconds: float, level: float) -> np.ndarray:
    """A sine tone (S,) that fades in and out over 0.1 s, or over a quarter of a shorter tone."""
    t = np.arange(round(seconds * SAMPLE_RATE)) / SAMPLE_RATE
    ramp = min(0.1, seconds / 4)
    edge = np.clip(np.minimum(t, seconds - t) / ramp, 0, 1)
    return (level * np.sin(2 * np.pi * frequency * t) * np.sin(np.pi / 2 * edge) ** 2).astype(np.float32)


def headphone_audio(order: tuple[int, int, int]) -> np.ndarray:
    """Stereo (S, 2): three 200 Hz tones of 1 s in `order`: plain, in antiphase between the ears, and quiet (6 dB less).

    Through headphones the quiet tone is the quietest. From loudspeakers the antiphase tone cancels in the air and seems quietest.
    Source: Woods, Siegel, Traer & McDermott 2017, "Headphone screening to facilitate web-based auditory experiments".
    """
    assert order in ORDERS
    plain, quiet = tone(200, 1.0, 0.5), tone(200, 1.0, 0.25)
    pairs = [(plain, plain), (plain, -plain), (quiet, quiet)]
    gap = np.zeros((SAMPLE_RATE // 2, 2), np.float32)
    parts = [gap[: len(gap) // 2]]
    for number in order:
        parts += [np.stack(pairs[number], axis=1), gap]
    return np.concatenate(parts)


def counted_beeps(music: np.ndarray, count: int) -> np.ndarray:
    """An attention check (S,): `music` stops after a quarter and is followed by `count` beeps, the required answer."""
    start = len(music) // 4
    step = min(round(0.6 * SAMPLE_RATE), (len(music) - start) // 6)
    checked = np.zeros_like(music)
    checked[:start] = music[:start]
    for k in range(count):
        at = start + round((k + 0.5) * step)
        beep = tone(880, 0.5 * step / SAMPLE_RATE, 0.2)
        checked[at : at + len(beep)] = beep[: len(music) - at]
    return checked
