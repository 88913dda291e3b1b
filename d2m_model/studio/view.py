"""What the page shows of the studio and of a job, as JSON values. Nothing here opens media."""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from d2m_model.generate.params import Params as GenerateParams
from d2m_model.generate.song_fit import LIMIT
from d2m_model.rhythm.beats_file import read_beats
from d2m_model.studio.beats_edits import same_beats
from d2m_model.studio.history import History
from d2m_model.studio.job import MUSIC, STEPS, Job, Task, file_name
from d2m_model.studio.jobs import Jobs, needed
from d2m_model.studio.takes import MOST_TAKES, has_other_beats
from dataset_tools.lib.core.array_file import read_npy
from dataset_tools.lib.core.params import load_params
from dataset_tools.lib.core.timebase import FPS, LEVELS
from dataset_tools.pose.overlay import BONES

WHAT = dict.fromkeys(MUSIC, "music")
FILES = {
    "beats.json": "beats.json",
    "beats.mid": "beats.mid",
    "beats.wav": "click track.wav",
    "project.zip": "project.d2m.zip",
}
"""Exports that belong to no take -> the end of the name under which they are downloaded."""
LARGEST = 32767
"""Largest value of a stored coordinate: tenths of a px in int16."""
BLOCK = 1000
"""Frames of the pose that are held in memory together."""


def state_view(jobs: Jobs, clips: list[dict[str, Any]], folders: list[Path]) -> dict[str, Any]:
    """Everything that does not belong to one job."""
    params = load_params(jobs.layout.params, "generate", GenerateParams)
    with jobs.lock:
        return {
            "corpus": jobs.layout.corpus,
            "styles": jobs.styles,
            "levels": list(LEVELS),
            "defaults": {"level": "high", "seed": params.seed, "strictness": params.strictness, "loudness": params.loudness, "style": ""},
            "limits": {"upload_bytes": jobs.params.upload_bytes, "seconds": jobs.params.seconds, "takes": MOST_TAKES, "stretch": LIMIT},
            "clips": clips,
            "folders": [{"id": number, "name": folder.resolve().name} for number, folder in enumerate(folders)],
            "jobs": [_job_line(jobs, job) for job in jobs.all()],
            "queue": [
                {"job": job.id, "name": job.name, "what": WHAT.get(task.kind, task.kind), "running": jobs.is_running(task)}
                for job, task in jobs.queue()
            ],
        }  # fmt: skip


def _job_line(jobs: Jobs, job: Job) -> dict[str, Any]:
    read = job.done("read")
    takes = [t for t in job.tasks.values() if t.kind in WHAT and t.state == "done"]
    return {
        "id": job.id, "name": job.name, "seconds": read and read.result["seconds"], "takes": len(takes),
        "busy": _busy(jobs, job), "failed": _failed(job), "changed": job.last_asked // 10**9,
    }  # fmt: skip


def _busy(jobs: Jobs, job: Job) -> bool:
    """Whether anything of a job waits or runs, also one that was cancelled and has not stopped yet."""
    now = jobs.running
    return (now is not None and now.job is job) or any(task.state == "waiting" for task in job.tasks.values())


def _failed(job: Job) -> bool:
    """Whether a step failed, or the music, before there was any."""
    music = [task.state for task in job.tasks.values() if task.kind in MUSIC]
    return any(job.tasks[step].state == "failed" for step in STEPS) or ("done" not in music and "failed" in music)


def job_view(jobs: Jobs, job: Job) -> dict[str, Any]:
    """Everything that the page shows of a job."""
    with jobs.lock:
        ahead = {task.key: place for place, (owner, task) in enumerate(jobs.queue()) if owner is job}
        part = lambda task: _task_view(jobs, job, task, ahead)
        takes = sorted((t for t in job.tasks.values() if t.kind in WHAT), key=lambda t: t.number)
        files = sorted((t for t in job.tasks.values() if t.kind == "sound"), key=lambda t: t.number)
        read, pose = job.done("read"), job.done("pose")
        none = {
            "state": "done" if job.done("rhythm") else "waiting",
            "found": "no take",
            "error": None,
            "progress": None,
            "ahead": 0,
        }
        music = part(takes[-1]) if takes else none
        finished = sum(task.state == "done" for task in takes)
        if finished and music["state"] == "done":
            music["found"] = f"{finished} take{'s' if finished > 1 else ''}"
        return {
            "id": job.id,
            "name": job.name,
            "revision": job.revision,
            "busy": _busy(jobs, job),
            "hopeless": job.tasks["read"].state == "failed" and job.tasks["read"].result.get("final", False),
            "steps": {step: part(job.tasks[step]) for step in STEPS} | {"music": music},
            # Whether the current beats stay while, after an undo, their dancer is followed again.
            "keeps_beats": bool(job.tasks["rhythm"].arguments.get("keep")),
            "notes": list(dict.fromkeys(note for task in sorted(job.tasks.values(), key=lambda t: t.asked) for note in task.notes)),
            "video": read and {"fps": FPS} | {k: read.result[k] for k in ("frames", "seconds", "width", "height", "sound", "lufs")},
            "dancers": [{"index": n, "seen": seen} for n, seen in enumerate(pose.result["seen"])] if pose else [],
            "dancer": job.dancer,
            "pose": _pose_view(pose, read),
            "beats": beats_view(job) if job.done("rhythm") else None,
            "takes": [part(task) | _take_view(job, task) for task in takes],
            "sounds": [
                part(t) | {"number": t.number, "name": t.arguments["name"], "kind": t.arguments["use"], "seconds": t.result.get("seconds")}
                for t in files
            ],
            "exports": [part(t) | export_view(job, t) for t in job.tasks.values() if t.kind == "export"],
        }  # fmt: skip


def _task_view(jobs: Jobs, job: Job, task: Task, ahead: dict[str, int]) -> dict[str, Any]:
    """`state` is one of the task's own, "running", or "not done" where a step that it needs has failed."""
    running = jobs.is_running(task)
    lost = task.state == "cancelled" and any(step.state == "failed" for step in needed(job, task))
    return {
        "state": "running" if running else "not done" if lost else task.state,
        "stopping": bool(running and jobs.running and jobs.running.cancelled),
        # Tells it from an earlier one of this key; as text, because JavaScript's numbers are too short.
        "asked": str(task.asked),
        "found": task.result.get("found", ""),
        "error": task.error,
        "progress": jobs.running.progress if running and jobs.running else None,
        "doubt": task.result.get("doubt", False),
        "advice": task.result.get("advice", ""),
        "ahead": ahead.get(task.key, 0),
    }


def _take_view(job: Job, task: Task) -> dict[str, Any]:
    asked, style = task.arguments, task.arguments.get("style", "")
    if isinstance(style, dict):
        audio = job.tasks.get(f"sound-{style['sound']}")
        shown = audio.arguments["name"] if audio else "an audio file that was deleted"
    else:
        shown = Path(style).name or "suits the dance"  # params.yaml may name a file
    model = task.kind == "take"
    return {
        "number": task.number, "name": job.names.get(task.number, ""), "file": f"{take_file(job, task.number)}.wav",
        "made": "model" if model else "own music", "style_name": shown if model else task.result.get("song", ""),
        "told": task.result.get("told", ""), "seconds": task.result.get("seconds"), "lufs": task.result.get("lufs"),
        "old": task.state == "done" and has_other_beats(job, task), "style": style if isinstance(style, dict) else Path(style).name,
    } | {name: asked.get(name) for name in ("level", "seed", "strictness", "loudness", "from", "redo", "keep")}  # fmt: skip


def _stem(job: Job) -> str:
    return file_name(job.name.rpartition(".")[0] or job.name)


def take_file(job: Job, number: int) -> str:
    """The name under which a take is downloaded, without its suffix."""
    name = job.names.get(number)
    return f"{_stem(job)} - take {number}" + (f" - {file_name(name)}" if name else "")


def export_view(job: Job, task: Task) -> dict[str, Any]:
    """An export as the page shows it; `file` is the name under which it is downloaded."""
    take = task.arguments["take"]
    file = f"{take_file(job, take)}.{task.key.rpartition('.')[2]}" if take else f"{_stem(job)} - {FILES[task.key]}"
    kind = (
        "project"
        if task.key == "project.zip"
        else {"mp4": "video", "mid": "midi", "json": "beats"}.get(task.key.rpartition(".")[2])
    )
    kind = kind or ("wav" if take else "click")
    return {
        "name": task.key,
        "kind": kind,
        "take": take,
        "file": file,
    }


def _pose_view(pose: Task | None, read: Task | None) -> dict[str, Any] | None:
    if pose is None or read is None:
        return None
    people, joints = pose.result["people"], pose.result["joints"]
    return {"frames": read.result["frames"], "people": people, "joints": joints, "edges": BONES[joints]}


def beats_view(job: Job) -> dict[str, Any]:
    """The current beats."""
    beats, found = read_beats(job.beats), read_beats(job.found_beats)
    return {
        "beats": beats.beats.tolist(),
        "downbeats": beats.downbeats.tolist(),
        "seconds": beats.seconds,
        "tempo": beats.tempo,
        "edited": (edited := not same_beats(beats, found)),
        "invented": not edited and job.tasks["rhythm"].result.get("invented") is True,
    }


def history_view(history: History) -> dict[str, Any]:
    """The edits of the beats, for a page that opens the job: times, down-beats and dancers, without strengths."""
    pairs = lambda marks: [mark[:2] for mark in marks]
    steps = [
        {"label": s.label, "removed": pairs(s.removed), "added": pairs(s.added), "dancers": s.dancers}
        for s in history.steps
    ]
    return history.model_dump(include={"version", "at", "beats", "downbeats", "dancer"}) | {"steps": steps}


def pose_blocks(job: Job) -> tuple[int, Iterator[bytes]]:
    """(number of bytes, blocks of them): the dancers for the page's overlay, int16 little endian (frames, people, joints, 3): x and y in
    tenths of a px of the preview, and 1000 times the confidence; zeros where a joint was not seen."""
    pose = read_npy(job.folder / "pose.npy")
    read, size = job.tasks["read"].result, job.tasks["pose"].result["size"]
    scale = np.array([10 * read["width"] / size[0], 10 * read["height"] / size[1], 1000], np.float32)

    def shown(block: np.ndarray) -> bytes:
        block = np.asarray(block, np.float32)
        places = np.nan_to_num(np.where(block[..., 2:] > 0, block * scale, 0))
        return np.clip(np.rint(places), -LARGEST, LARGEST).astype("<i2").tobytes()

    return 2 * pose.size, (shown(pose[first : first + BLOCK]) for first in range(0, len(pose), BLOCK))
