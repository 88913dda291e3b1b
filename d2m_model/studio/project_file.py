"""A job as one file that opens again on another machine: a zip of its folder, without exports and unfinished tasks."""

import json
import re
import shutil
import zipfile
import zlib
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError

from d2m_model.rhythm.beats_file import read_beats
from d2m_model.studio.history import read_history
from d2m_model.studio.job import KEY, MOST_NOTES, MUSIC, NAME_LENGTH, SUFFIX, VIDEO, Job, Task, load_job
from d2m_model.studio.requests import AudioFile
from dataset_tools.lib.core.array_file import read_npy
from dataset_tools.lib.core.atomic import atomic_write
from dataset_tools.lib.core.errors import UserError
from dataset_tools.lib.core.limits import DANCERS, printable
from dataset_tools.lib.core.timebase import FPS, frames_to_seconds
from dataset_tools.pose.overlay import BONES

NUMBER = r"[1-9]\d{0,3}"
CONTENT = re.compile(
    rf"job\.json|{VIDEO.pattern}|preview\.mp4|original\.(wav|json)|pose\.npy|motion\.json|found\.json|beats\.json|history\.json"
    rf"|tasks/({KEY.pattern})\.json|takes/{NUMBER}(\.wav|\.json|\.beats\.json)|sounds/(given-)?{NUMBER}{SUFFIX.pattern}"
    rf"|songs/{NUMBER}{SUFFIX.pattern}"
)
"""Names of the files of a project; others are refused."""
MOST_FILES = 2000
MOST_DIRECTORY = MOST_FILES * 200
"""Bytes of a zip file's table of contents, which is held in memory."""
MOST_RECORDS = 16 << 20
"""Bytes of all records of tasks, which are held in memory."""
MOST_FRAMES = 6 * 3600 * FPS
NEAR = 0.01
"""Largest difference in seconds between two lengths of one dance."""
COPIED = 1 << 20
STORED = (".mp4", ".wav")
Shown = Annotated[str, Field(max_length=1000)]
Region = Annotated[list[Annotated[float, Field(ge=0, le=1e6)]], Field(min_length=2, max_length=2)] | None


class Record(BaseModel):
    """A part of a task's record; unknown values are refused."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


class Nothing(Record):
    """Arguments of a step."""


class ReadResult(Record):
    """What `read` found."""

    found: Shown
    frames: int = Field(ge=2, le=MOST_FRAMES)
    seconds: float
    begin: float = Field(ge=-1e6, le=1e6)
    width: int = Field(ge=2, le=10**5)
    height: int = Field(ge=2, le=10**5)
    sound: bool
    lufs: float | None


class PoseResult(Record):
    """What `pose` found."""

    found: Shown
    size: list[Annotated[int, Field(gt=0, lt=10**5)]] = Field(min_length=2, max_length=2)
    people: int = Field(ge=1, le=DANCERS)
    joints: int
    seen: list[Annotated[float, Field(ge=0, le=1)]]
    doubt: bool
    advice: Shown = ""


class RhythmArguments(Record):
    """How the beats were asked for: keep, where an undone edit chose the dancer again."""

    keep: bool = False


class RhythmResult(Record):
    """What `rhythm` found. The other fields are set if nobody was found, or the dancer only in few frames."""

    found: Shown
    doubt: bool = False
    advice: Shown = ""
    invented: bool = False


class TakeArguments(Record):
    """How a take was asked for."""

    level: Literal["high", "low"]
    style: Shown | AudioFile
    strictness: float
    loudness: float = Field(ge=-70, le=0)
    seed: int = Field(ge=0, lt=1 << 63)
    from_: int | None = Field(alias="from")
    redo: Region
    keep: Region


class OwnMusicArguments(Record):
    """How own music was asked for. The folder's path is not packed."""

    folder: Literal[""] | None
    loudness: float = Field(ge=-70, le=0)


class MusicResult(Record):
    """What a take is."""

    found: Shown
    told: Shown
    seconds: float
    lufs: float | None
    song: Shown = ""


class AudioArguments(Record):
    """An audio file that the person sent."""

    file: str
    name: str = Field(max_length=NAME_LENGTH)
    use: Literal["style", "song"]


class AudioResult(Record):
    """What an audio file is."""

    found: Shown
    seconds: float


RECORDS: dict[str, tuple[type[BaseModel], type[BaseModel]]] = {
    "read": (Nothing, ReadResult), "pose": (Nothing, PoseResult), "rhythm": (RhythmArguments, RhythmResult),
    "take": (TakeArguments, MusicResult), "own_music": (OwnMusicArguments, MusicResult), "sound": (AudioArguments, AudioResult),
}  # fmt: skip
"""Kind of task -> its arguments, its result."""


def pack(job: Job, out: Path) -> None:
    """Write a job as a project file, atomically. Takes and audio files that are deleted meanwhile are left out."""
    with (
        atomic_write(out) as aside,
        zipfile.ZipFile(aside, "w", zipfile.ZIP_DEFLATED, strict_timestamps=False) as archive,
    ):
        for path in sorted(p for p in job.folder.rglob("*") if p.is_file()):
            name = path.relative_to(job.folder).as_posix()
            if CONTENT.fullmatch(name) and not name.startswith("tasks/"):
                media = path.suffix in STORED or name == job.video
                with suppress(FileNotFoundError):
                    archive.write(path, name, zipfile.ZIP_STORED if media else None)
        for task in job.tasks.values():
            there = (job.folder / "tasks" / f"{task.key}.json").is_file()  # deleted before its files
            if there and task.state == "done" and task.kind != "export":
                record = asdict(task)
                if record["arguments"].get("folder"):
                    record["arguments"]["folder"] = ""  # a path of this machine
                if isinstance(style := record["arguments"].get("style"), str):
                    record["arguments"]["style"] = Path(style).name  # params.yaml may name a file
                archive.writestr(f"tasks/{task.key}.json", json.dumps(record, indent=2) + "\n")


def unpack(project: Path, folder: Path, most: int) -> Job:
    """The job of a project file, unpacked into `folder`. most: bytes of all its files.

    Raises UserError for another kind of file, one with other names than a project's, one beyond `most`, and one whose records
    do not fit its files.
    """
    left = most
    try:
        if _directory_bytes(project) > MOST_DIRECTORY:
            raise UserError(f"not a project of the studio: it holds more than {MOST_FILES} files")
        with zipfile.ZipFile(project) as archive:
            parts = archive.infolist()
            if sum(p.file_size for p in parts if p.filename.startswith("tasks/")) > MOST_RECORDS:
                raise UserError("not a project of the studio: its records are too large")
            if any(p.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED) for p in parts):
                raise UserError("not a project of the studio: it is compressed in another way")
            strange = next((p.filename for p in parts if not CONTENT.fullmatch(p.filename)), None)
            if strange is not None or len(parts) > MOST_FILES:
                raise UserError(
                    f"not a project of the studio: it holds {printable(strange) if strange else f'{len(parts)} files'}"
                )
            for part in parts:
                target = folder / part.filename
                target.parent.mkdir(exist_ok=True)
                with archive.open(part) as source, open(target, "xb") as out:
                    while block := source.read(COPIED):
                        left -= len(block)
                        if left < 0:
                            raise UserError(
                                f"this project is larger than {most >> 20} MiB; raise studio.upload_mib in params.yaml"
                            )
                        out.write(block)
    except (
        zipfile.BadZipFile,
        zipfile.LargeZipFile,
        zlib.error,
        NotImplementedError,
        RuntimeError,
        EOFError,
        FileExistsError,
        ValueError,
    ) as err:
        if isinstance(err, UserError):
            raise
        raise UserError("not a project of the studio, or a damaged one") from None
    job = load_job(folder)
    _check(job)
    return job


def _directory_bytes(path: Path) -> int:
    """Size of a zip file's table of contents, as its last bytes give it, in 32 or 64 bits; 0 if they are no zip's, which `zipfile` tells."""
    with open(path, "rb") as file:
        file.seek(max(0, path.stat().st_size - (1 << 16) - 100))
        end = file.read()
    found = 0
    while (end_record := end.rfind(b"PK\5\6")) >= 0:
        for mark, at, size in ((b"PK\5\6", end_record, 4), (b"PK\6\6", end_record - 76, 8)):
            if at >= 0 and end[at : at + 4] == mark:
                begin = at + (12 if size == 4 else 40)
                wanted = int.from_bytes(end[begin : begin + size], "little")
                found = max(found, 0 if size == 4 and wanted == 0xFFFFFFFF else wanted)
        end = end[:end_record]
    return found


def _check(job: Job) -> None:
    """Raises UserError unless the records have the values, and the folder has the files, that the studio shows and computes with."""
    wanted = {"read": ("preview.mp4",), "pose": ("pose.npy",), "rhythm": ("found.json", "beats.json", "motion.json")}
    for task in job.tasks.values():
        _need(
            task.state == "done" and task.kind != "export" and len(task.notes) <= MOST_NOTES, f"a finished {task.key}"
        )
        _check_task(job, task)
    for step, files in wanted.items():
        _need(all((job.folder / name).is_file() for name in files), f"the files of {step}")
    _need((job.folder / job.video).is_file(), "its video")
    read, pose = job.tasks["read"].result, job.tasks["pose"].result
    _need(abs(read["seconds"] - frames_to_seconds(read["frames"])) < NEAR, "seconds")
    _need(not read["sound"] or (job.folder / "original.json").is_file(), "sound")
    stored = read_npy(job.folder / "pose.npy")
    _need(stored.shape == (read["frames"], pose["people"], pose["joints"], 3), "the pose of its frames")
    _need(pose["joints"] in BONES and len(pose["seen"]) == pose["people"] > job.dancer, "its dancers")
    for path in (job.found_beats, job.beats):
        try:
            beats = read_beats(path)
        except UserError as err:
            raise UserError(f"not a whole project of the studio: {str(err).removeprefix(f'{path.parent}/')}") from None
        _need(abs(beats.seconds - read["seconds"]) < NEAR, f"the length of {path.name}")
    if job.history.exists():
        try:
            history = read_history(job.history)
        except UserError as err:
            raise UserError(f"not a whole project of the studio: {str(err).removeprefix(f'{job.folder}/')}") from None
        followed = (dancer for step in history.steps for dancer in step.dancers or ())
        _need(max(history.dancer or 0, *followed, 0) < pose["people"], "the dancers of history.json")


def _check_task(job: Job, task: Task) -> None:
    """Raises UserError for arguments and results other than the studio's, and for a take or audio file without its file."""
    arguments, result = RECORDS[task.kind]
    for kind, values in ((arguments, task.arguments), (result, task.result)):
        try:
            kind.model_validate(values)
        except ValidationError as err:
            where = ".".join(str(part) for part in err.errors(include_url=False, include_input=False)[0]["loc"])
            _need(False, f"{task.key}: {printable(where)}")
    if task.kind in MUSIC:
        _need(job.take(task.number).is_file(), f"the audio of {task.key}")
    elif task.kind == "sound":
        song, file = task.arguments["use"] == "song", task.arguments["file"]
        named = rf"{'songs/' if song else 'sounds/given-'}{task.number}{SUFFIX.pattern}"
        _need(bool(re.fullmatch(named, file)) and (job.folder / file).is_file(), f"the file of {task.key}")
        _need(song or (job.folder / "sounds" / f"{task.number}.wav").is_file(), f"the audio of {task.key}")


def _need(found: bool, what: str) -> None:
    if not found:
        raise UserError(f"not a whole project of the studio: {what} is missing or wrong")


def discard(folder: Path) -> None:
    """Remove a folder that became no job."""
    shutil.rmtree(folder, ignore_errors=True)
