"""Takes and files to download: checks what the page asks for and queues it, and deletes what is not wanted any more."""

import itertools
import re
from pathlib import Path
from typing import Any, NamedTuple

from d2m_model.generate.params import Params as GenerateParams
from d2m_model.studio.beats_edits import check_beats_found
from d2m_model.studio.job import MUSIC, Job, Task
from d2m_model.studio.jobs import Jobs, Unknown
from d2m_model.studio.requests import AudioFile, ExportRequest, OwnMusicRequest, TakeRequest
from dataset_tools.lib.core.atomic import publish
from dataset_tools.lib.core.errors import UserError
from dataset_tools.lib.core.limits import printable
from dataset_tools.lib.core.params import load_params

MOST_TAKES = 200
"""Takes of a job."""
EXPORTS = {
    "video": "take-{}.mp4",
    "wav": "take-{}.wav",
    "beats": "beats.json",
    "midi": "beats.mid",
    "click": "beats.wav",
    "project": "project.zip",
}
"""Kind of export -> key of its task and name of its file."""


class Asked(NamedTuple):
    """Takes that were queued."""

    numbers: list[int]
    seeds: list[int]
    same: int | None
    """The take that is there already with the seed that was asked for, if there is one."""


def ask_takes(jobs: Jobs, job: Job, asked: TakeRequest) -> Asked:
    """Queue takes for the current beats, from the seed that was asked for on. A seed that would give the music of an earlier take is
    left out. Raises UserError for settings that no take can have."""
    with jobs.lock:
        check_beats_found(job)
        _check_room(job, asked.count)
        if asked.from_ is not None:
            take = job.done(f"take-{asked.from_}")
            if take is None or take.kind != "take":
                raise UserError("the take to change must be finished, and made by the model")
            if take.arguments["level"] != asked.level:
                raise UserError(
                    f"take {asked.from_} is of level {take.arguments['level']}; a part of it is made at that level"
                )
        style: Any = asked.style
        if isinstance(asked.style, AudioFile):
            audio = job.done(f"sound-{asked.style.sound}")
            if audio is None or audio.arguments["use"] != "style":
                raise UserError("the audio file to imitate is not there, or not read yet")
            style = {"sound": asked.style.sound}
        elif asked.style and not jobs.styles:
            raise UserError("the model is still being loaded, so its styles are not known yet; try again in a moment")
        elif asked.style and asked.style not in jobs.styles:
            raise UserError(f"style must be one of {', '.join(jobs.styles)}, found {printable(asked.style)}")
        arguments = {
            "level": asked.level, "style": style, "strictness": asked.strictness, "loudness": asked.loudness,
            "from": asked.from_, "redo": asked.redo and list(asked.redo), "keep": asked.keep and list(asked.keep),
        }  # fmt: skip
        there = _seeds_of(job, arguments)
        seeds = list(itertools.islice((s for s in itertools.count(asked.seed) if s not in there), asked.count))
        numbers = [_ask_music(jobs, job, "take", arguments | {"seed": seed}) for seed in seeds]
        return Asked(numbers, seeds, there.get(asked.seed))


def _seeds_of(job: Job, arguments: dict[str, Any]) -> dict[int, int]:
    """Seed -> number of the take that has it, of the takes with these arguments and the current beats."""
    return {
        task.arguments["seed"]: task.number
        for task in sorted((t for t in job.tasks.values() if t.kind == "take"), key=lambda t: -t.number)
        if task.state in ("waiting", "done")
        and task.arguments == arguments | {"seed": task.arguments["seed"]}
        and not has_other_beats(job, task)
    }


def has_other_beats(job: Job, task: Task) -> bool:
    """Whether the beats changed since a take was asked for: both files are written alike, except for the tempo, which follows from the
    beats."""
    then = job.folder / "takes" / f"{task.number}.beats.json"
    if not then.is_file() or not job.beats.is_file():
        return False
    read = lambda path: re.sub(rb'"tempo": [^,]*', b"", path.read_bytes(), count=1)
    return read(then) != read(job.beats)


def first_take(jobs: Jobs) -> dict[str, Any]:
    """Arguments of the take that a new job gets, from params.yaml."""
    params = load_params(jobs.layout.params, "generate", GenerateParams)
    return {
        "level": "high", "style": params.style, "strictness": params.strictness, "loudness": params.loudness,
        "seed": params.seed, "from": None, "redo": None, "keep": None,
    }  # fmt: skip


def ask_own_music(jobs: Jobs, job: Job, asked: OwnMusicRequest, folders: list[Path]) -> int:
    """Queue the best excerpt of the person's songs; the take's number. Raises UserError for an unknown folder, or one without songs."""
    with jobs.lock:
        check_beats_found(job)
        _check_room(job, 1)
        if asked.folder == "uploaded":
            if not any(
                t.kind == "sound" and t.arguments["use"] == "song" and t.state == "done" for t in job.tasks.values()
            ):
                raise UserError("choose songs first; none is here yet")
            arguments: dict[str, Any] = {"folder": None, "loudness": asked.loudness}
            if same := _same_fit(job, arguments):
                raise UserError(f"take {same.number} is this already: songs, beats and loudness are the same")
            return _ask_music(jobs, job, "own_music", arguments)
        if not 0 <= asked.folder < len(folders):
            raise UserError("no such folder of songs")
        arguments = {"folder": str(folders[asked.folder].resolve()), "loudness": asked.loudness}
        return _ask_music(jobs, job, "own_music", arguments)


def _same_fit(job: Job, arguments: dict[str, Any]) -> Task | None:
    """A take of the songs that were sent which would come out again: its song is there, and none came since."""
    songs = [t for t in job.tasks.values() if t.kind == "sound" and t.arguments["use"] == "song" and t.state == "done"]
    names, newest = {t.arguments["name"] for t in songs}, max(t.asked for t in songs)
    return next(
        (
            task
            for task in job.tasks.values()
            if task.kind == "own_music" and task.state == "done" and task.arguments == arguments
            if task.asked > newest and task.result.get("song") in names and not has_other_beats(job, task)
        ),
        None,
    )


def _check_room(job: Job, count: int) -> None:
    if count + sum(t.kind in MUSIC for t in job.tasks.values()) > MOST_TAKES:
        raise UserError(f"a job holds at most {MOST_TAKES} takes; delete some first")


def _ask_music(jobs: Jobs, job: Job, kind: str, arguments: dict[str, Any]) -> int:
    number = job.next_number("take")
    publish(job.beats, job.folder / "takes" / f"{number}.beats.json")
    jobs.ask(job, f"take-{number}", kind, arguments)
    return number


def take_of(job: Job, number: str) -> Task:
    """A take, whatever its state. Raises Unknown."""
    task = job.tasks.get(f"take-{number}")
    if task is None or task.kind not in MUSIC:
        raise Unknown(f"take {number}")
    return task


def remove_take(jobs: Jobs, job: Job, number: str) -> None:
    """Delete a take with its exports, and cancel the takes that would be made from it. Raises Unknown."""
    with jobs.lock:
        task = take_of(job, number)
        exports = [t.key for t in job.tasks.values() if t.kind == "export" and t.arguments["take"] == task.number]
        jobs.cancel(job, {t.key for t in job.tasks.values() if t.arguments.get("from") == task.number})
        _drop(jobs, job, [task.key, *exports])
        for suffix in (".wav", ".json", ".beats.json"):
            (job.folder / "takes" / f"{number}{suffix}").unlink(missing_ok=True)
        for key in exports:
            (job.folder / "exports" / key).unlink(missing_ok=True)


def remove_audio(jobs: Jobs, job: Job, number: str) -> None:
    """Delete an audio file that the person sent. Raises Unknown."""
    with jobs.lock:
        task = job.tasks.get(f"sound-{number}")
        if task is None:
            raise Unknown(f"audio file {number}")
        _drop(jobs, job, [task.key])
        for path in (job.folder / task.arguments["file"], job.folder / "sounds" / f"{number}.wav"):
            path.unlink(missing_ok=True)


def _drop(jobs: Jobs, job: Job, keys: list[str]) -> None:
    jobs.cancel(job, set(keys))
    for key in keys:
        job.drop(key)


def ask_export(jobs: Jobs, job: Job, asked: ExportRequest) -> Task:
    """Queue a file to download; its task. Raises UserError for a take that isn't there."""
    with jobs.lock:
        needs_take = "{}" in EXPORTS[asked.kind]
        if needs_take and (asked.take is None or job.done(f"take-{asked.take}") is None):
            raise UserError("choose a finished take to export")
        if not needs_take:
            check_beats_found(job)
        if asked.mix and asked.kind != "video":
            raise UserError("the original audio is mixed into a video only")
        name = EXPORTS[asked.kind].format(asked.take)
        return jobs.ask(job, name, "export", {"take": asked.take if needs_take else None, "mix": asked.mix})
