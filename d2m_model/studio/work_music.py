"""The worker's music and files: takes by the model or from the person's own songs, audio files of the person, exports."""

import functools
import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import soxr

from d2m_model.generate.finish import loudness_note, normalise, write_wav
from d2m_model.generate.generators import Dance, PriorGenerator
from d2m_model.generate.models import load_model, trained
from d2m_model.generate.mux import mux
from d2m_model.generate.original_audio import mixed
from d2m_model.generate.own_beats import cut_to
from d2m_model.generate.own_music import own_music
from d2m_model.generate.own_songs import OwnSong, read_song, read_songs
from d2m_model.generate.params import Params as GenerateParams
from d2m_model.generate.takes import Again
from d2m_model.nets.variants import PRIOR
from d2m_model.prior.player import read_style_audio
from d2m_model.rhythm.beats_export import export_beats
from d2m_model.rhythm.beats_file import Beats, read_beats
from d2m_model.studio import project_file
from d2m_model.studio.drawing import lufs_of, write_drawing
from d2m_model.studio.work_task import Work
from dataset_tools.lib.audio.audio_file import read_samples
from dataset_tools.lib.audio.mono import to_mono
from dataset_tools.lib.core.atomic import publish
from dataset_tools.lib.core.cli import say
from dataset_tools.lib.core.errors import UserError
from dataset_tools.lib.core.layout import Layout
from dataset_tools.lib.core.params import load_params
from dataset_tools.lib.core.timebase import SAMPLE_RATE, frames_to_seconds


def make_take(work: Work) -> dict[str, Any]:
    """Generate a take with the prior, for the beats that were current when it was requested."""
    asked, job = work.arguments, work.job
    audio = asked["style"]["sound"] if isinstance(asked["style"], dict) else None
    params = replace(
        load_params(work.layout.params, "generate", GenerateParams),
        style=asked["style"] if audio is None else str(job.folder / "sounds" / f"{audio}.wav"),
        **{name: asked[name] for name in ("seed", "strictness", "loudness")},
    )
    generator = prior_of(work.layout, asked["level"])
    generator.check(params)
    dance = Dance(frames=work.frames, size=(1, 1), beats=_beats_of_take(work))
    if asked["from"]:
        region = {name: f"{asked[name][0]:.9f}-{asked[name][1]:.9f}" for name in ("redo", "keep") if asked[name]}
        audio = Again(take=job.take(asked["from"]), **region).made(generator, dance, params)
    else:
        audio = generator.generate(dance, params).audio
    return _finished(work, audio, SAMPLE_RATE, "")


def fit_own_music(work: Work) -> dict[str, Any]:
    """Make a take of the excerpt of the person's songs that fits best."""
    job, folder = work.job, work.arguments["folder"]
    place = job.folder / "songs" if folder is None else Path(folder)
    beats = _beats_of_take(work)
    names = names_of_songs(work)
    try:
        made = own_music(read_songs(place, work.layout.cache("own_music")), beats, frames_to_seconds(work.frames))
    except UserError as err:
        raise UserError(with_given_names(str(err), names)) from None
    params = load_params(work.layout.params, "generate", GenerateParams)
    audio = normalise(made.audio, work.arguments["loudness"], params.peak, made.rate)
    song: OwnSong = made.fit.song
    name = names.get(song.name, song.name)
    return _finished(work, audio, made.rate, name + made.told.removeprefix(song.name)) | {"song": name}


def names_of_songs(work: Work) -> dict[str, str]:
    """File in the job -> its name on the person's machine. Empty, unless the task reads uploaded songs."""
    if work.task.kind != "own_music" or work.arguments["folder"] is not None:
        return {}
    files = [task.arguments for task in work.job.tasks.values() if task.kind == "sound"]
    return {Path(file["file"]).name: file["name"] for file in files if file["use"] == "song"}


def with_given_names(text: str, names: dict[str, str]) -> str:
    """A message about songs, with the names that the person knows and without the command's option. names: see `names_of_songs`."""
    if names:  # all at once, because a new name may be that of another file
        files = "|".join(re.escape(file) for file in sorted(names, key=len, reverse=True))
        text = re.sub(rf"(?<![\w.])(?:songs/)?({files})", lambda found: names[found[1]], text)
    return text.replace("of --own-music ", "").replace(" of --own-music", "")


def _finished(work: Work, audio: np.ndarray, rate: int, told: str) -> dict[str, Any]:
    """Write a take and what the page draws of it. Returns the task's result. told: a line about the music."""
    number = work.task.number
    write_wav(work.job.take(number), audio, rate)
    mono = to_mono(audio, rate) if audio.ndim == 2 else audio
    heard = mono if rate == SAMPLE_RATE else soxr.resample(mono, rate, SAMPLE_RATE)
    write_drawing(work.job.folder / "takes" / f"{number}.json", np.asarray(heard, np.float32))
    seconds = audio.shape[-1] / rate
    told = "; ".join(
        part for part in (told, loudness_note(audio, work.arguments["loudness"], rate).strip(", ")) if part
    )
    return {
        "found": told or f"{seconds:.1f} s of music", "told": told, "seconds": seconds,
        "lufs": lufs_of(audio, rate),
    }  # fmt: skip


def read_audio_file(work: Work) -> dict[str, Any]:
    """Check an audio file that the person sent. One to imitate is also written as the .wav that `generate --style` reads."""
    path = work.job.folder / work.arguments["file"]
    try:
        audio, rate = read_song(path)
    except UserError as err:
        told = str(err).replace(str(path), path.name).replace(path.name, work.arguments["name"])
        raise UserError(told) from None
    if work.arguments["use"] == "style":
        mono = soxr.resample(to_mono(audio, rate), rate, SAMPLE_RATE).astype(np.float32)
        wav = work.job.folder / "sounds" / f"{work.task.number}.wav"
        write_wav(wav, mono)
        read_style_audio(wav)  # raises for silence
    return {"found": f"{audio.shape[1] / rate:.1f} s", "seconds": audio.shape[1] / rate}


def write_export(work: Work) -> dict[str, Any]:
    """Write a file to download."""
    job, take, out = work.job, work.arguments["take"], work.job.folder / "exports" / work.task.key
    if work.task.key == "project.zip":
        project_file.pack(job, out)
    elif out.stem == "beats":
        export_beats(out, read_beats(job.beats))
    elif out.suffix == ".wav":
        publish(job.take(take), out)
    else:
        found = read_samples(job.take(take))
        audio = found.audio.T
        if work.arguments["mix"]:
            params = replace(
                load_params(work.layout.params, "generate", GenerateParams),
                loudness=job.tasks[f"take-{take}"].arguments["loudness"],
            )
            mono = audio[0] if len(audio) == 1 else audio
            audio, note = mixed(mono, found.rate, job.folder / job.video, work.begin, work.arguments["mix"], params)
            say("studio", f"take {take}{note}")
        if not mux(job.folder / job.video, audio, out, delay=work.begin, rate=found.rate):
            say("studio", "the picture was encoded again as H.264")
    return {"found": "", "bytes": out.stat().st_size}


def _beats_of_take(work: Work) -> Beats:
    """The beats that were current when the take was requested, cut as `generate --beats` cuts them. The first take is requested before
    there are beats: it gets the current ones."""
    path = work.job.folder / "takes" / f"{work.task.number}.beats.json"
    if not path.is_file():
        publish(work.job.beats, path)
    return cut_to(read_beats(path), frames_to_seconds(work.frames))


@functools.lru_cache(2)
def prior_of(layout: Layout, level: str) -> PriorGenerator:
    """The trained prior of a level, loaded. The last two stay in memory."""
    trained(layout, level, PRIOR)
    generator = load_model(layout, level, PRIOR, {}, bar=True)
    assert isinstance(generator, PriorGenerator)
    return generator
