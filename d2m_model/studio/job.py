"""A job of the studio: a folder with a video and everything made for it, each file complete or absent.

    job.json                    name, video, dancer, highest numbers, names of takes
    video.<suffix>              the video as it was given
    tasks/<key>.json            what was asked for, how far it is, what came out: read, pose, rhythm, take-1, sound-1, take-1.mp4 ...
    preview.mp4  original.wav   the picture and the audio for the page
    pose.npy                    (T, P, J, 3)
    found.json  beats.json      the beats that the rhythm model found, and those that the person corrected
    history.json                the edits that led to them, to be undone and done again
    takes/<n>.wav  <n>.json     music, and what the page draws of it
    sounds/  songs/  exports/   audio files to imitate, the person's own songs, files to download

A task's record says `done` only after its files are there. So a job can be read at any time, and a server that starts again
continues with the tasks that are `waiting`.
"""

import itertools
import json
import re
import secrets
import shutil
from contextlib import suppress
from dataclasses import asdict, dataclass, field, fields
from pathlib import Path
from typing import Any

from dataset_tools.lib.core.atomic import remove_partial_files, write_text
from dataset_tools.lib.core.errors import Unreadable, UserError
from dataset_tools.lib.core.json_file import read_json
from dataset_tools.lib.core.limits import printable

FORMAT = 1
JOB_ID = re.compile(r"[0-9a-f]{16}")
KEY = re.compile(
    r"read|pose|rhythm|(take|sound)-[1-9]\d{0,3}|(take-[1-9]\d{0,3}\.(mp4|wav))|beats\.(json|mid|wav)|project\.zip"
)
SUFFIX = re.compile(r"\.[a-z0-9]{1,5}")
VIDEO = re.compile(rf"video{SUFFIX.pattern}")
STATES = ("waiting", "done", "failed", "cancelled")
STEPS = ("read", "pose", "rhythm")
"""Tasks that each new video goes through, in this order."""
MUSIC = ("take", "own_music")
"""Kinds of tasks whose result is a take."""
KINDS = (*STEPS, *MUSIC, "sound", "export")
KEYS = {"take": r"take-\d+", "own_music": r"take-\d+", "sound": r"sound-\d+", "export": r".*\..*"}
"""Kind -> what the key of such a task looks like; a step's key is its kind."""
NAME_LENGTH = 120
TAKE_NAME_LENGTH = 60
PROJECT = ".project.zip"
"""A project file in its job's folder, until all of it is unpacked and checked."""
MOST_NUMBER = 9999
"""Highest number of a take or audio file."""
MOST_NOTES = 200
"""Notes of a task; further ones are not kept."""
MOST_RECORD = 4 << 20


@dataclass(kw_only=True)
class Task:
    """Something that was asked for. Raises ValueError for values other than described here."""

    key: str
    """Its file in tasks/, as in `KEY`."""
    kind: str
    """One of KINDS."""
    asked: int
    """Tasks run in ascending order of this number."""
    state: str = "waiting"
    """One of STATES; which task runs, only the running server knows."""
    arguments: dict[str, Any] = field(default_factory=dict)
    result: dict[str, Any] = field(default_factory=dict)
    """What came out, for the page: `found` is a line for the person."""
    notes: list[str] = field(default_factory=list)
    """Lines that the library said about it."""
    error: str | None = None

    def __post_init__(self):
        for name, kind in (
            ("key", str),
            ("kind", str),
            ("asked", int),
            ("state", str),
            ("arguments", dict),
            ("result", dict),
            ("notes", list),
        ):
            if not isinstance(getattr(self, name), kind):
                raise ValueError(f"{name} must be a {kind.__name__}, found {printable(getattr(self, name))}")
        known = KEY.fullmatch(self.key) and self.kind in KINDS and self.state in STATES and 0 <= self.asked < 1 << 63
        if not known or not re.fullmatch(KEYS.get(self.kind, self.kind), self.key):
            raise ValueError(
                f"no task of the studio: {printable(self.key)}, {printable(self.kind)}, {printable(self.state)}"
            )
        if not all(isinstance(note, str) for note in self.notes) or not isinstance(self.error, str | None):
            raise ValueError("notes must be lines of text, and error one or null")

    @property
    def number(self) -> int:
        """n of take-n, sound-n."""
        return int(self.key.rpartition("-")[2])


class Job:
    """A job's records, in memory and in its folder. Hold the lock of `Jobs` while you change them."""

    def __init__(self, folder: Path, name: str, video: str, dancer: int = 0):
        self.folder, self.name, self.video, self.dancer = folder, name, video, dancer
        self.tasks: dict[str, Task] = {}
        self.numbers: dict[str, int] = {}
        """'take', 'sound' -> the highest number that one had, so that no other one gets it: pages keep what they know of a number."""
        self.names: dict[int, str] = {}
        """Number of a take -> the name that the person gave it."""
        self.revision = 0
        """Changes with every saved change."""

    @property
    def id(self) -> str:
        """Name of its folder."""
        return self.folder.name

    def save(self) -> None:
        """Write job.json."""
        record = {
            "format": FORMAT,
            "name": self.name,
            "video": self.video,
            "dancer": self.dancer,
            "numbers": self.numbers,
            "names": self.names,
        }
        write_text(self.folder / "job.json", json.dumps(record, indent=2) + "\n")
        self.revision += 1

    def put(self, task: Task) -> None:
        """Add or replace a task, in memory and on disk."""
        write_text(self.folder / "tasks" / f"{task.key}.json", json.dumps(asdict(task), indent=2) + "\n")
        self.tasks[task.key] = task
        self.revision += 1

    def drop(self, key: str) -> None:
        """Remove a task."""
        prefix, _, number = key.partition("-")
        if number.isdigit() and int(number) > self.numbers.get(prefix, 0):
            self.numbers[prefix] = int(number)
        if prefix == "take" and number.isdigit():
            self.names.pop(int(number), None)
        with suppress(OSError):  # on a full disk, what makes room must go on; the next change saves it
            self.save()
        (self.folder / "tasks" / f"{key}.json").unlink(missing_ok=True)
        self.tasks.pop(key, None)
        self.revision += 1

    def name_take(self, number: int, name: str) -> None:
        """Give a take a name; an empty one takes it away."""
        if shown := printable_name(name, TAKE_NAME_LENGTH):
            self.names[number] = shown
        else:
            self.names.pop(number, None)
        self.save()

    def changed(self) -> None:
        """Tell the page that a file has changed."""
        self.revision += 1

    def next_number(self, prefix: str) -> int:
        """The number of a new take or audio file; every call gives another one. Raises UserError after `MOST_NUMBER`."""
        known = (t.number for t in self.tasks.values() if t.key.startswith(f"{prefix}-") and "." not in t.key)
        number = 1 + max(self.numbers.get(prefix, 0), *known, 0)
        if number > MOST_NUMBER:
            raise UserError(f"this job has no number left for another {prefix}; begin a new one with the video")
        self.numbers[prefix] = number
        return number

    def take(self, number: int) -> Path:
        """File of a take."""
        return self.folder / "takes" / f"{number}.wav"

    @property
    def beats(self) -> Path:
        """File of the beats that music is made for."""
        return self.folder / "beats.json"

    @property
    def found_beats(self) -> Path:
        """File of the beats that the rhythm model found."""
        return self.folder / "found.json"

    @property
    def history(self) -> Path:
        """File of the edits that led to the beats."""
        return self.folder / "history.json"

    @property
    def last_asked(self) -> int:
        """Number of its newest task, in nanoseconds since 1970; 0 without tasks."""
        return max((task.asked for task in self.tasks.values()), default=0)

    def done(self, key: str) -> Task | None:
        """A task, if it is done."""
        task = self.tasks.get(key)
        return task if task and task.state == "done" else None


def new_job(jobs: Path, name: str, suffix: str) -> Job:
    """A folder for a new job, whose video will be called video<suffix>. It is no job until `Job.save`."""
    folder = jobs / secrets.token_hex(8)
    folder.mkdir(parents=True)
    suffix = suffix.lower()
    return Job(folder, shown_name(name), f"video{suffix if SUFFIX.fullmatch(suffix) else '.video'}")


def shown_name(name: str) -> str:
    """A file name as it is shown to people: printable, without folders, at most NAME_LENGTH characters."""
    return printable_name(re.split(r"[\\/]", name)[-1], NAME_LENGTH) or "dance"


def printable_name(name: str, most: int) -> str:
    """A name without what can't be printed, at most this many characters long."""
    return "".join(c for c in name if c.isprintable())[:most].strip()


def name_beside(name: str, taken: set[str]) -> str:
    """A job's name that no other one has: "dance (2).mp4" where "dance.mp4" is taken. taken: the names of the others."""
    if name not in taken:
        return name
    stem, suffix = own_name(name), ""
    if found := re.search(r"(?<=.)\.\w{1,5}$", stem):
        stem, suffix = stem[: found.start()], found[0]
    ends = (f" ({n}){suffix}" for n in itertools.count(2))
    return next(new for end in ends if (new := stem[: NAME_LENGTH - len(end)] + end) not in taken)


def own_name(name: str) -> str:
    """A job's name without the number of `name_beside`."""
    return re.sub(r"(?<=.) \(\d+\)(?=(\.\w{1,5})?$)", "", name)


def file_name(text: str) -> str:
    """A text as the name of a file on any system: characters that one of them refuses become spaces, and it begins with no dot."""
    return " ".join(re.sub(r'[\\/:*?"<>|]', " ", printable_name(text, len(text))).split()).strip(". ") or "dance"


def load_job(folder: Path) -> Job:
    """The job of a folder. Raises UserError for a folder without job.json, and for records that are no job's."""
    try:
        record = read_json(folder / "job.json", MOST_RECORD)
        job = _job_of(folder, record)
        for path in sorted((folder / "tasks").glob("[!.]*.json")):  # one that begins with a dot is being written
            try:
                values = read_json(path, MOST_RECORD)
            except UserError:
                if not path.exists():  # the server deleted this task meanwhile
                    continue
                raise
            if (
                not isinstance(values, dict)
                or set(values) != {f.name for f in fields(Task)}
                or values["key"] != path.stem
            ):
                raise ValueError(f"tasks/{path.name} is no record of a task")
            job.tasks[path.stem] = Task(**values)
        if not set(job.tasks) >= set(STEPS):
            raise ValueError("the records of its steps are missing")
    except Unreadable as err:
        raise UserError(f"{folder.name}: not a job of the studio ({err.reason})") from None
    except ValueError as err:
        raise UserError(f"{folder.name}: not a job of the studio ({err})") from None
    return job


def _job_of(folder: Path, record: object) -> Job:
    if not isinstance(record, dict) or record.get("format") != FORMAT:
        raise ValueError("another format; it was made by another version")
    name, video, dancer = record.get("name"), record.get("video"), record.get("dancer")
    numbers = record.get("numbers", {})
    if not (
        isinstance(name, str)
        and isinstance(video, str)
        and VIDEO.fullmatch(video)
        and type(dancer) is int
        and 0 <= dancer < 1000
        and isinstance(numbers, dict)
    ):
        raise ValueError("job.json is damaged")
    job = Job(folder, shown_name(name), video, dancer)
    for prefix, number in numbers.items():
        if prefix not in ("take", "sound") or type(number) is not int or not 0 <= number <= MOST_NUMBER:
            raise ValueError("job.json is damaged")
        job.numbers[prefix] = number
    names = record.get("names", {})
    if not isinstance(names, dict) or len(names) > MOST_NUMBER:
        raise ValueError("job.json is damaged")
    for take, given in names.items():
        if not re.fullmatch(r"[1-9]\d{0,3}", take) or not isinstance(given, str):
            raise ValueError("job.json is damaged")
        if shown := printable_name(given, TAKE_NAME_LENGTH):
            job.names[int(take)] = shown
    return job


def tidy(jobs: Path) -> None:
    """Remove what a killed server left: folders that never became a job, projects that were not unpacked, and partial files."""
    for folder in jobs.iterdir() if jobs.is_dir() else ():
        if not JOB_ID.fullmatch(folder.name):
            continue
        if not (folder / "job.json").is_file() or (folder / PROJECT).exists():
            shutil.rmtree(folder, ignore_errors=True)
            continue
        tidy_job(folder)


def remove_strays(job: Job) -> None:
    """Remove the files of takes and audio files without a record: a server was killed while it received or deleted them."""
    for place, kind in (("takes", "take"), ("sounds", "sound"), ("songs", "sound")):
        for path in (job.folder / place).glob("*"):
            if (found := re.match(r"(?:given-)?(\d+)\.", path.name)) and f"{kind}-{found[1]}" not in job.tasks:
                with suppress(OSError):
                    path.unlink()


def tidy_job(folder: Path) -> None:
    """Remove the partial files of killed processes from a job's folder; those of a process that lives stay."""
    with suppress(OSError):  # a request removes it at this moment
        for place in (folder, *(p for p in folder.iterdir() if p.is_dir())):
            remove_partial_files(place)
