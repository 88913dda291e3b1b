"""What the studio's worker process does for a task. Media are only opened here, because a decoder may crash or hang.

Each function writes its files into the job's folder and returns what the page shows. Models stay loaded from one task to the
next. The music is what `d2m_model.generate` makes from the same video, beats and settings, sample for sample.
"""

import contextlib
import ctypes
import functools
import re
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any, NamedTuple

import numpy as np
import soxr

from d2m_model.generate.finish import loudness_note, loudness_of, normalise, write_wav
from d2m_model.generate.generators import Dance, PriorGenerator
from d2m_model.generate.models import load_model, trained
from d2m_model.generate.mux import mux
from d2m_model.generate.original_audio import mixed
from d2m_model.generate.own_beats import audio_of_dance, cut_to
from d2m_model.generate.own_music import own_music
from d2m_model.generate.own_pose import ENOUGH, UNAVAILABLE
from d2m_model.generate.own_songs import OwnSong, read_song, read_songs
from d2m_model.generate.own_video import begin_of, frames_of, read_posed
from d2m_model.generate.own_videos import trained_rhythm
from d2m_model.generate.params import Params as GenerateParams
from d2m_model.generate.takes import Again
from d2m_model.nets.variants import PRIOR
from d2m_model.prior.player import read_style_audio
from d2m_model.rhythm.beats_export import export_beats
from d2m_model.rhythm.beats_file import Beats, as_written, read_beats, write_beats
from d2m_model.rhythm.model import RhythmModel, load_rhythm
from d2m_model.rhythm.scoring import likeliest_style
from d2m_model.studio import project_file
from d2m_model.studio.beats_edits import same_beats
from d2m_model.studio.drawing import write_drawing, write_motion
from d2m_model.studio.job import Job, Task, load_job
from d2m_model.studio.missed import weights_missed
from d2m_model.studio.params import Params
from dataset_tools.clips.params import Params as ClipsParams
from dataset_tools.lib.audio.audio_file import read_samples
from dataset_tools.lib.audio.mono import to_mono
from dataset_tools.lib.core.array_file import read_npy, write_npy
from dataset_tools.lib.core.atomic import publish
from dataset_tools.lib.core.cli import say, watch_messages
from dataset_tools.lib.core.errors import UserError
from dataset_tools.lib.core.layout import Layout
from dataset_tools.lib.core.params import load_params
from dataset_tools.lib.core.progress import progress, watch_progress
from dataset_tools.lib.core.timebase import FPS, SAMPLE_RATE, frames_to_seconds
from dataset_tools.lib.parallel.worker_process import report_step

INVENTED = (
    "These beats are invented. Play the dance and tap its beats with the key T (Shift T: the first of a bar): the first tap removes all "
    "invented beats, and Undo brings them back. Then make the music."
)
"""What to do where nobody was found."""


class Work(NamedTuple):
    """A task with everything that its function needs."""

    job: Job
    task: Task
    layout: Layout
    params: Params

    @property
    def arguments(self) -> dict[str, Any]:
        """What was asked for."""
        return self.task.arguments

    @property
    def frames(self) -> int:
        """Number of the video's frames at 30 fps."""
        return self.job.tasks["read"].result["frames"]

    @property
    def begin(self) -> float:
        """Time of frame 0 in seconds of the video's clock."""
        return self.job.tasks["read"].result["begin"]


def perform(folder: Path, key: str, layout: Layout, params: Params) -> dict[str, Any]:
    """Do a job's task and return its result. Progress is reported as ("progress", label, done, total, unit), messages as
    ("note", text)."""
    job = load_job(folder)
    work = Work(job, job.tasks[key], layout, params)

    def note(stage: str, text: str) -> None:
        if stage == "pose" and text.startswith(UNAVAILABLE):  # the step says it, where it matters
            return
        report_step(("note", _with_given_names(text, _names_of_songs(work))))

    def bar(label: str, done: float, total: float | None, unit: str) -> None:
        report_step(("progress", label, done, total, unit))

    try:
        with watch_messages(note), watch_progress(bar):
            return FUNCTIONS[work.task.kind](work)
    finally:
        _give_memory_back()


def _give_memory_back() -> None:
    """Return freed memory to the system, where the C library can: the decoders of a large video free more than a gigabyte."""
    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).malloc_trim(0)


def warm_up(layout: Layout) -> dict[str, Any]:
    """Load what the first music needs. Returns {styles: the genres that the prior knows}."""
    _rhythm(layout)
    styles = _generator(layout, "high").player.styles
    import pyloudnorm  # noqa: F401

    with TemporaryDirectory() as folder:  # loads and compiles what every take needs
        write_drawing(Path(folder) / "x.json", np.sin(np.arange(2 * SAMPLE_RATE) / 50, dtype=np.float32))

    from dataset_tools.pose import estimator  # noqa: F401

    return {"styles": sorted({genre for genre in styles.genres if genre})}


def _read(work: Work) -> dict[str, Any]:
    """The picture and the audio for the page."""
    from dataset_tools.clips.normalise import cut_span
    from dataset_tools.clips.open_video import OpenVideo

    video, clips = work.job.folder / work.job.video, load_params(work.layout.params, "clips", ClipsParams)
    frames = frames_of(video)
    if frames > work.params.seconds * FPS:
        raise UserError(
            f"{work.job.name}: lasts {frames_to_seconds(frames):.0f} s; the studio takes at most {work.params.seconds} s: cut it"
        )
    height = min(work.params.preview_height, clips.max_height)
    cut = cut_span(OpenVideo(video, threads=2), max_height=height, crop=clips.crop, audio=False)
    made = replace(cut, frames=progress(cut.frames, "picture", cut.count, unit="frame")).write(
        work.job.folder / "preview.mp4"
    )
    begin = begin_of(video)
    audio = _original_audio(video, begin, frames)
    if audio is not None:
        write_wav(work.job.folder / "original.wav", audio)
        write_drawing(work.job.folder / "original.json", audio)
    seconds = frames_to_seconds(frames)
    found = f"{seconds:.1f} s, {made.source_width} x {made.source_height} px, {made.source_fps:.4g} frames a second"
    return {
        "found": found + ("" if audio is not None else ", no audio"), "frames": frames, "seconds": seconds, "begin": begin,
        "width": made.width, "height": made.height, "sound": audio is not None, "lufs": None if audio is None else _lufs(audio, SAMPLE_RATE),
    }  # fmt: skip


def _original_audio(video: Path, begin: float, frames: int) -> np.ndarray | None:
    """`audio_of_dance`; None also if it can't be read, which a message says."""
    try:
        return audio_of_dance(video, begin, frames)
    except UserError as err:
        say("studio", f"the video's audio can't be read: {err}")
        return None


def _pose(work: Work) -> dict[str, Any]:
    """The dancers, found as `generate` finds them."""
    posed = read_posed(work.job.folder / work.job.video, work.layout, stage="studio")
    shares = (posed.pose[..., 2] > 0).any(axis=2).mean(axis=0)
    pose = posed.pose[:, : max(1, int((shares > 0).sum()))]  # dancers come first, empty places last
    write_npy(work.job.folder / "pose.npy", pose)
    seen = [round(float(share), 3) for share in shares[: pose.shape[1]]]
    people = [share for share in seen if share]
    doubt = not people or people[0] < ENOUGH
    if not people:
        found = "nobody was found; the music will have a rhythm of its own, unless you tap the beats"
    elif len(people) == 1:
        found = f"1 dancer, seen in {people[0]:.0%} of the frames"
    else:
        found = f"{len(people)} dancers, the first seen in {people[0]:.0%} of the frames"
    advice = ""
    if people and doubt:
        found += ", too few to trust the beats"
        advice = "Hear the beats with Click, then correct or tap them. "
    if better := weights_missed(work.layout, posed.weights, work.job.folder / work.job.video):
        doubt = True
        found += "; the demo's weights were used"
        advice += (
            "They were trained on rendered dancers: compare the skeleton with the picture. For real dancers, be online, or put "
            f"{better}.pkl into the folder weights in the working folder of the studio (docs/weights.md: where to get it); then open "
            "the video again, as new work. Beats that you corrected stay in this one: JSON under Export takes them to generate --beats."
        )
    return {
        "found": found,
        "size": list(posed.size),
        "people": pose.shape[1],
        "joints": pose.shape[2],
        "seen": seen,
        "doubt": doubt,
        "advice": advice.strip(),
    }


def _beats(work: Work) -> dict[str, Any]:
    """The beats of the dancer that the person chose; where nobody was seen, the model makes them up. If an undone edit chose this dancer
    again ("keep"), the current beats stay."""
    pose = np.asarray(read_npy(work.job.folder / "pose.npy"), np.float32)
    dancer = min(work.job.dancer, pose.shape[1] - 1)
    beats = cut_to(as_written(_rhythm(work.layout).beats_of(pose[:, dancer])), frames_to_seconds(work.frames))
    write_motion(work.job.folder / "motion.json", pose[:, dancer])
    write_beats(work.job.found_beats, beats)
    write_beats(work.job.beats, beats_with(work.job.beats, beats) if work.arguments.get("keep") else beats)
    count = len(beats.beats)
    told = f"{count} beat{'s' * (count > 1)}" + (f", {beats.tempo:.0f} a minute" if beats.tempo else "")
    if not (pose[:, dancer, :, 2] > 0).any():
        found = f"nobody was found: a rhythm of its own, {told}" if count else "nobody was found: no beats"
        return {"found": found, "doubt": True, "advice": INVENTED, "invented": True}
    style = f", most like {likeliest_style(beats)}" if beats.style else ""
    return {"found": told + style if count else "no beats were found"}


def beats_with(path: Path, found: Beats) -> Beats:
    """The beats of a file with the style of those that were found; these themselves where they are the same."""
    now = read_beats(path)
    return found if same_beats(now, found) else replace(now, style=found.style)


def _take(work: Work) -> dict[str, Any]:
    """Music of the prior for the beats that the take was asked with."""
    asked, job = work.arguments, work.job
    audio = asked["style"]["sound"] if isinstance(asked["style"], dict) else None
    params = replace(
        load_params(work.layout.params, "generate", GenerateParams),
        style=asked["style"] if audio is None else str(job.folder / "sounds" / f"{audio}.wav"),
        **{name: asked[name] for name in ("seed", "strictness", "loudness")},
    )
    generator = _generator(work.layout, asked["level"])
    generator.check(params)
    dance = Dance(frames=work.frames, size=(1, 1), beats=_beats_of_take(work))
    if asked["from"]:
        region = {name: f"{asked[name][0]:.4f}-{asked[name][1]:.4f}" for name in ("redo", "keep") if asked[name]}
        audio = Again(take=job.take(asked["from"]), **region).made(generator, dance, params)
    else:
        audio = generator.generate(dance, params).audio
    return _finished(work, audio, SAMPLE_RATE, "")


def _own_music(work: Work) -> dict[str, Any]:
    """The best excerpt of the person's own songs."""
    job, folder = work.job, work.arguments["folder"]
    place = job.folder / "songs" if folder is None else Path(folder)
    beats = _beats_of_take(work)
    names = _names_of_songs(work)
    try:
        made = own_music(read_songs(place, work.layout.cache("own_music")), beats, frames_to_seconds(work.frames))
    except UserError as err:
        raise UserError(_with_given_names(str(err), names)) from None
    params = load_params(work.layout.params, "generate", GenerateParams)
    audio = normalise(made.audio, work.arguments["loudness"], params.peak, made.rate)
    song: OwnSong = made.fit.song
    name = names.get(song.name, song.name)
    return _finished(work, audio, made.rate, name + made.told.removeprefix(song.name)) | {"song": name}


def _names_of_songs(work: Work) -> dict[str, str]:
    """File in the job -> the person's name of it; empty for a task that reads none of the songs that were sent."""
    if work.task.kind != "own_music" or work.arguments["folder"] is not None:
        return {}
    files = [task.arguments for task in work.job.tasks.values() if task.kind == "sound"]
    return {Path(file["file"]).name: file["name"] for file in files if file["use"] == "song"}


def _with_given_names(text: str, names: dict[str, str]) -> str:
    """A message of the command line about songs as the page says it. names: file in the job -> the person's name of it."""
    if names:  # all at once: a name that is put in may be that of another file
        files = "|".join(re.escape(file) for file in sorted(names, key=len, reverse=True))
        text = re.sub(rf"(?<![\w.])(?:songs/)?({files})", lambda found: names[found[1]], text)
    return text.replace("of --own-music ", "").replace(" of --own-music", "")


def _finished(work: Work, audio: np.ndarray, rate: int, told: str) -> dict[str, Any]:
    """Write a take, and what the page draws of it."""
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
        "lufs": _lufs(audio, rate),
    }  # fmt: skip


def _lufs(audio: np.ndarray, rate: int) -> float | None:
    """Loudness in LUFS, None for silence, as JSON can hold it."""
    found = loudness_of(audio, rate)
    return None if found is None or not np.isfinite(found) else round(found, 2)


def _audio_file(work: Work) -> dict[str, Any]:
    """An audio file to imitate, as a .wav that `generate --style` takes, or one of the person's own songs, checked."""
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


def _export(work: Work) -> dict[str, Any]:
    """A file to download."""
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
    """The beats that a take was asked with, as `generate --beats` uses them. A take that was asked before there were beats gets the
    current ones."""
    path = work.job.folder / "takes" / f"{work.task.number}.beats.json"
    if not path.is_file():
        publish(work.job.beats, path)
    return cut_to(read_beats(path), frames_to_seconds(work.frames))


@functools.cache
def _rhythm(layout: Layout) -> RhythmModel:
    return load_rhythm(trained_rhythm(layout))


@functools.lru_cache(2)
def _generator(layout: Layout, level: str) -> PriorGenerator:
    trained(layout, level, PRIOR)
    generator = load_model(layout, level, PRIOR, {}, bar=True)
    assert isinstance(generator, PriorGenerator)
    return generator


FUNCTIONS: dict[str, Callable[[Work], dict[str, Any]]] = {
    "read": _read, "pose": _pose, "rhythm": _beats, "take": _take, "own_music": _own_music, "sound": _audio_file, "export": _export,
}  # fmt: skip
