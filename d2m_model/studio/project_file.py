"""A job as one file that opens again on another machine: a zip of its folder, without exports and unfinished tasks."""

import json
import re
import shutil
import zipfile
from dataclasses import asdict
from pathlib import Path

import numpy as np

from d2m_model.studio.job import KEY, NAME_LENGTH, STEPS, SUFFIX, VIDEO, Job, load_job
from dataset_tools.lib.core.array_file import read_npy
from dataset_tools.lib.core.atomic import atomic_write
from dataset_tools.lib.core.errors import UserError
from dataset_tools.lib.core.limits import printable

NUMBER = r"[1-9]\d{0,3}"
CONTENT = re.compile(
    rf"job\.json|{VIDEO.pattern}|preview\.mp4|original\.(wav|json)|pose\.npy|motion\.json|found\.json|beats\.json"
    rf"|tasks/({KEY.pattern})\.json|takes/{NUMBER}(\.wav|\.json|\.beats\.json)|sounds/(given-)?{NUMBER}{SUFFIX.pattern}"
    rf"|songs/{NUMBER}{SUFFIX.pattern}"
)
"""Names of the files of a project; others are refused."""
MOST_FILES = 2000
COPIED = 1 << 20
STORED = (".mp4", ".wav")


def pack(job: Job, out: Path) -> None:
    """Write a job as a project file, atomically."""
    with atomic_write(out) as aside, zipfile.ZipFile(aside, "w", zipfile.ZIP_DEFLATED) as archive:
        for path in sorted(p for p in job.folder.rglob("*") if p.is_file()):
            name = path.relative_to(job.folder).as_posix()
            if CONTENT.fullmatch(name) and not name.startswith("tasks/"):
                media = path.suffix in STORED or name == job.video
                archive.write(path, name, zipfile.ZIP_STORED if media else None)
        for task in job.tasks.values():
            if task.state == "done" and task.kind != "export":
                record = asdict(task)
                if record["arguments"].get("folder"):
                    record["arguments"]["folder"] = ""  # a path of this machine
                archive.writestr(f"tasks/{task.key}.json", json.dumps(record, indent=2) + "\n")


def unpack(project: Path, folder: Path, most: int) -> Job:
    """The job of a project file, unpacked into `folder`. most: bytes of all its files.

    Raises UserError for another kind of file, one with other names than a project's, one beyond `most`, and one whose records
    do not fit its files.
    """
    left = most
    try:
        with zipfile.ZipFile(project) as archive:
            parts = archive.infolist()
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
        NotImplementedError,
        RuntimeError,
        EOFError,
        FileExistsError,
        ValueError,
    ) as err:
        if isinstance(err, UserError):
            raise
        raise UserError(f"not a project of the studio, or damaged ({type(err).__name__})") from None
    job = load_job(folder)
    _check(job)
    return job


def _check(job: Job) -> None:
    """Raises UserError unless the results that the studio computes with have the values and files that they need."""
    wanted = {"read": ("preview.mp4",), "pose": ("pose.npy",), "rhythm": ("found.json", "beats.json", "motion.json")}
    try:
        _need(set(job.tasks) >= set(STEPS), "its steps")
        for task in job.tasks.values():
            _need(task.state == "done", f"a finished {task.key}")
        for step, files in wanted.items():
            _need(all((job.folder / name).is_file() for name in files), f"the files of {step}")
        _need((job.folder / job.video).is_file(), "its video")
        read, pose = job.tasks["read"].result, job.tasks["pose"].result
        for name, least, most in (("frames", 2, 10**7), ("width", 2, 10**5), ("height", 2, 10**5)):
            _need(type(read[name]) is int and least <= read[name] <= most, name)
        for name in ("begin", "seconds"):
            _need(isinstance(read[name], (int, float)) and np.isfinite(read[name]), name)
        _need(type(read["sound"]) is bool and (not read["sound"] or (job.folder / "original.json").is_file()), "sound")
        _need(read["lufs"] is None or isinstance(read["lufs"], float), "lufs")
        _need(
            len(pose["size"]) == 2 and all(type(n) is int and 0 < n < 10**5 for n in pose["size"]),
            "the size of the pose",
        )
        stored = read_npy(job.folder / "pose.npy")
        _need(stored.shape == (read["frames"], pose["people"], pose["joints"], 3), "the pose of its frames")
        _need(pose["joints"] in (17, 25) and len(pose["seen"]) == pose["people"] > job.dancer, "its dancers")
        for task in job.tasks.values():
            if task.kind in ("take", "own_music"):
                _need(task.arguments["loudness"] <= 0 and job.take(task.number).is_file(), f"the sound of {task.key}")
            elif task.kind == "sound":
                name = task.arguments["name"]
                _need(
                    isinstance(name, str) and len(name) <= NAME_LENGTH and task.arguments["use"] in ("style", "song"),
                    task.key,
                )
    except (KeyError, TypeError, ValueError) as err:
        if isinstance(err, UserError):
            raise
        raise UserError(f"not a project of the studio: its records are damaged ({type(err).__name__})") from None


def _need(found: bool, what: str) -> None:
    if not found:
        raise UserError(f"not a whole project of the studio: {what} is missing or wrong")


def discard(folder: Path) -> None:
    """Remove a folder that became no job."""
    shutil.rmtree(folder, ignore_errors=True)
