"""The studio's worker process: it does one task after the other. `FUNCTIONS` names the function of each kind of task.

Each function writes its files into the job's folder and returns what the page shows. Only this process opens media, because a
decoder may crash or hang. Models stay loaded from one task to the next. The music is sample for sample what `d2m_model.generate`
makes from the same video, beats and settings.
"""

import contextlib
import ctypes
from collections.abc import Callable
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np

from d2m_model.generate.own_pose import UNAVAILABLE
from d2m_model.studio.drawing import write_drawing
from d2m_model.studio.job import load_job
from d2m_model.studio.params import Params
from d2m_model.studio.work_music import (
    fit_own_music,
    make_take,
    names_of_songs,
    prior_of,
    read_audio_file,
    with_given_names,
    write_export,
)
from d2m_model.studio.work_task import Work
from d2m_model.studio.work_video import find_beats, find_pose, read_video, rhythm_model
from dataset_tools.lib.core.cli import watch_messages
from dataset_tools.lib.core.layout import Layout
from dataset_tools.lib.core.progress import watch_progress
from dataset_tools.lib.core.timebase import SAMPLE_RATE
from dataset_tools.lib.parallel.worker_process import report_step

FUNCTIONS: dict[str, Callable[[Work], dict[str, Any]]] = {
    "read": read_video, "pose": find_pose, "rhythm": find_beats, "take": make_take, "own_music": fit_own_music, "sound": read_audio_file,
    "export": write_export,
}  # fmt: skip
"""Kind of a task -> its function."""


def perform(folder: Path, key: str, layout: Layout, params: Params) -> dict[str, Any]:
    """Do a job's task and return its result. Progress is reported as ("progress", label, done, total, unit), messages as
    ("note", text)."""
    job = load_job(folder)
    work = Work(job, job.tasks[key], layout, params)

    def note(stage: str, text: str) -> None:
        if stage == "pose" and text.startswith(UNAVAILABLE):
            return  # the result of the step says it, if it matters for this video
        report_step(("note", with_given_names(text, names_of_songs(work))))

    def bar(label: str, done: float, total: float | None, unit: str) -> None:
        report_step(("progress", label, done, total, unit))

    try:
        with watch_messages(note), watch_progress(bar):
            return FUNCTIONS[work.task.kind](work)
    finally:
        _give_memory_back()


def _give_memory_back() -> None:
    """Return freed memory to the system, if the C library can: after a large video it is more than a gigabyte."""
    with contextlib.suppress(AttributeError, OSError):
        ctypes.CDLL(None).malloc_trim(0)


def warm_up(layout: Layout) -> dict[str, Any]:
    """Load and compile what the first music needs. Returns {styles: the genres that the prior knows}."""
    rhythm_model(layout)
    styles = prior_of(layout, "high").player.styles
    import pyloudnorm  # noqa: F401

    with TemporaryDirectory() as folder:
        write_drawing(Path(folder) / "x.json", np.sin(np.arange(2 * SAMPLE_RATE) / 50, dtype=np.float32))

    from dataset_tools.pose import estimator  # noqa: F401

    return {"styles": sorted({genre for genre in styles.genres if genre})}
