"""What the page asks for: checks the values of its requests and turns them into tasks."""

from pathlib import Path
from typing import Annotated, Any, Literal, TypeVar

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from d2m_model.generate.params import FARTHEST_SHIFT, FASTEST, SLOWEST
from d2m_model.generate.params import Params as GenerateParams
from d2m_model.generate.tempo import with_tempo
from d2m_model.rhythm.beats_file import MOST_BEATS, Beats, as_numbers, read_beats, write_beats
from d2m_model.rhythm.editing import doubled, halved, shifted, snapped, with_beats
from d2m_model.studio.job import MOST_NUMBER, MUSIC, Job, Task
from d2m_model.studio.jobs import Jobs, Unknown
from dataset_tools.lib.core.atomic import publish
from dataset_tools.lib.core.errors import UserError
from dataset_tools.lib.core.json_file import read_json
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
Seconds = float


class Request(BaseModel):
    """Values of one request; unknown ones are refused."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


R = TypeVar("R", bound=Request)


class Sound(Request):
    """A sound of the job, by its number."""

    sound: int = Field(ge=1)


class TakeRequest(Request):
    """New takes, or one with a part of an earlier take generated again."""

    level: Literal["high", "low"] = "high"
    seed: int = Field(0, ge=0, lt=2**53)
    style: Annotated[str, Field(max_length=200)] | Sound = ""
    strictness: float = Field(1.0, ge=0, le=20)
    loudness: float = Field(-16.0, ge=-70, le=0)
    count: int = Field(1, ge=1, le=20)
    from_: int | None = Field(None, alias="from", ge=1)
    redo: tuple[Seconds, Seconds] | None = Field(None, strict=False)
    keep: tuple[Seconds, Seconds] | None = Field(None, strict=False)

    @model_validator(mode="after")
    def _together(self) -> "TakeRequest":
        if (self.from_ is not None) != ((self.redo or self.keep) is not None) or (self.redo and self.keep):
            raise ValueError("from goes together with one of redo and keep")
        if self.from_ is not None and self.count > 1:
            raise ValueError("one take at a time has a part generated again")
        for region in (self.redo, self.keep):
            if region and not 0 <= region[0] < region[1]:
                raise ValueError("a region must end after it starts")
        if not self.strictness and self.style:
            raise ValueError("a style changes nothing where strictness is 0")
        return self


class BeatsRequest(Request):
    """The person's beats, in seconds."""

    beats: list[Seconds] = Field(max_length=MOST_BEATS)
    downbeats: list[Seconds] = Field([], max_length=MOST_BEATS)


class ChangeRequest(BeatsRequest):
    """A change of all beats."""

    operation: Literal["halve", "double", "tempo", "shift", "snap", "reset"]
    bpm: float = Field(120.0, ge=SLOWEST, le=FASTEST)
    seconds: float = Field(0.0, ge=-FARTHEST_SHIFT, le=FARTHEST_SHIFT)
    to: Annotated[str, Field(max_length=20)] | Annotated[int, Field(ge=1, le=MOST_NUMBER)] = "motion"


class OwnMusicRequest(Request):
    """Music from the person's songs: an offered folder, or those sent to the job."""

    folder: int | Literal["uploaded"]
    loudness: float = Field(-16.0, ge=-70, le=0)


class ExportRequest(Request):
    """A file to download."""

    kind: Literal["video", "wav", "beats", "midi", "click", "project"]
    take: int | None = Field(None, ge=1)
    mix: float = Field(0.0, ge=0, le=1)
    """Gain of the video's own sound under the music of an exported video."""


class DancerRequest(Request):
    """The dancer to follow."""

    dancer: int = Field(ge=0)


class ClipRequest(Request):
    """A clip of the corpus."""

    clip: str = Field(max_length=200)


class CancelRequest(Request):
    """What to stop: everything, or one take or export."""

    what: Literal["all", "take", "export"] = "all"
    number: int | None = Field(None, ge=1)
    name: str | None = Field(None, max_length=60)


def read_request(kind: type[R], body: bytes) -> R:
    """The values of a JSON body. Raises UserError, with the first mistake."""
    try:
        return kind.model_validate_json(body or b"{}")
    except ValidationError as err:
        first = err.errors(include_url=False, include_input=False)[0]
        where = ".".join(str(part) for part in first["loc"])
        raise UserError(f"{where + ': ' if where else ''}{first['msg'].removeprefix('Value error, ')}") from None


def ask_takes(jobs: Jobs, job: Job, asked: TakeRequest) -> list[int]:
    """Queue takes, each with the next seed, for the beats of now; their numbers. Raises UserError for what can't be."""
    with jobs.lock:
        _check_ready(job)
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
        if isinstance(asked.style, Sound):
            sound = job.done(f"sound-{asked.style.sound}")
            if sound is None or sound.arguments["use"] != "style":
                raise UserError("the sound to imitate is not there, or not read yet")
            style = {"sound": asked.style.sound}
        elif asked.style and not jobs.styles:
            raise UserError("the model is still being loaded, so its styles are not known yet; try again in a moment")
        elif asked.style and asked.style not in jobs.styles:
            raise UserError(f"style must be one of {', '.join(jobs.styles)}, found {printable(asked.style)}")
        arguments = {
            "level": asked.level, "style": style, "strictness": asked.strictness, "loudness": asked.loudness,
            "from": asked.from_, "redo": asked.redo and list(asked.redo), "keep": asked.keep and list(asked.keep),
        }  # fmt: skip
        return [
            _ask_music(jobs, job, "take", arguments | {"seed": asked.seed + number}) for number in range(asked.count)
        ]


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
        _check_ready(job)
        _check_room(job, 1)
        if asked.folder == "uploaded":
            if not any(
                t.kind == "sound" and t.arguments["use"] == "song" and t.state == "done" for t in job.tasks.values()
            ):
                raise UserError("choose songs first; none is here yet")
            return _ask_music(jobs, job, "own_music", {"folder": None, "loudness": asked.loudness})
        if not 0 <= asked.folder < len(folders):
            raise UserError("no such folder of songs")
        arguments = {"folder": str(folders[asked.folder].resolve()), "loudness": asked.loudness}
        return _ask_music(jobs, job, "own_music", arguments)


def _check_ready(job: Job) -> None:
    if job.done("rhythm") is None:
        raise UserError("the dance's beats must be found first")


def _check_room(job: Job, count: int) -> None:
    if count + sum(t.kind in MUSIC for t in job.tasks.values()) > MOST_TAKES:
        raise UserError(f"a job holds at most {MOST_TAKES} takes; delete some first")


def _ask_music(jobs: Jobs, job: Job, kind: str, arguments: dict[str, Any]) -> int:
    number = job.next_number("take")
    publish(job.beats, job.folder / "takes" / f"{number}.beats.json")
    jobs.ask(job, f"take-{number}", kind, arguments)
    return number


def ask_export(jobs: Jobs, job: Job, asked: ExportRequest) -> Task:
    """Queue a file to download; its task. Raises UserError for a take that isn't there."""
    with jobs.lock:
        needs_take = "{}" in EXPORTS[asked.kind]
        if needs_take and (asked.take is None or job.done(f"take-{asked.take}") is None):
            raise UserError("choose a finished take to export")
        if not needs_take:
            _check_ready(job)
        if asked.mix and asked.kind != "video":
            raise UserError("the original sound is mixed into a video only")
        name = EXPORTS[asked.kind].format(asked.take)
        return jobs.ask(job, name, "export", {"take": asked.take if needs_take else None, "mix": asked.mix})


def save_beats(job: Job, asked: BeatsRequest) -> None:
    """Write the person's beats. Raises UserError for beats outside of the video."""
    write_beats(job.beats, _edited(job, asked))
    job.changed()


def change_beats(job: Job, asked: ChangeRequest) -> None:
    """Change all beats, and write them. Raises UserError for beats outside of the video, too many, and nothing to snap to."""
    if asked.operation == "reset":
        _check_ready(job)
        beats = read_beats(job.found_beats)
    else:
        beats = _edited(job, asked)
    try:
        if asked.operation == "halve":
            beats = halved(beats)
        elif asked.operation == "double":
            beats = doubled(beats)
        elif asked.operation == "tempo" and len(beats.beats) < 2:
            raise UserError("a tempo needs at least two beats; add some first")
        elif asked.operation == "tempo":
            beats = with_tempo(beats, asked.bpm)
        elif asked.operation == "shift":
            beats = shifted(beats, asked.seconds)
        elif asked.operation == "snap":
            beats = snapped(beats, np.array(_times_to_snap_to(job, asked.to)))
        write_beats(job.beats, beats)
    except UserError:
        raise
    except ValueError as err:  # from Beats: too many, or two that fall on one time when they are rounded
        raise UserError(str(err)) from None
    job.changed()


def _edited(job: Job, asked: BeatsRequest) -> Beats:
    _check_ready(job)
    return with_beats(read_beats(job.beats), asked.beats, asked.downbeats)


def _times_to_snap_to(job: Job, to: str | int) -> list[float]:
    if to == "motion":
        return motion_of(job)["kinematic"]
    beats = _times_of(drawing_of(job, str(to)), "beats")
    if not beats:
        raise UserError("no beat was found in this sound; snap to another")
    return beats


def _times_of(path: Path, name: str) -> list[float]:
    """The list `name` of a file that `drawing` wrote. Raises UserError for another file, which may come from a project."""
    content = read_json(path)
    try:
        return as_numbers(name, content.get(name) if isinstance(content, dict) else None).tolist()
    except ValueError as err:
        raise UserError(f"{path.name}: {err}") from None


def drawing_of(job: Job, name: str) -> Path:
    """The file of what the page draws of a sound: 'original' or the number of a take. Raises Unknown."""
    if name == "original" and (read := job.done("read")) and read.result["sound"]:
        return job.folder / "original.json"
    if job.done(f"take-{name}") and "." not in name:
        return job.folder / "takes" / f"{name}.json"
    raise Unknown(name)


def motion_of(job: Job) -> dict[str, list[float]]:
    """{beats: those that the model found, kinematic: moments at which the dancer is slowest}."""
    _check_ready(job)
    kinematic = _times_of(job.folder / "motion.json", "kinematic")
    return {"beats": read_beats(job.found_beats).beats.tolist(), "kinematic": kinematic}
