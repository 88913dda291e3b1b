"""The beats of a job as the person edits them: saves a page's edits, changes all beats at once, follows another dancer.

`beats.json` has the current beats, `found.json` those that the model found, `history.json` the edits (see `history`).
"""

from dataclasses import replace
from pathlib import Path

import numpy as np

from d2m_model.generate.tempo import with_tempo
from d2m_model.rhythm.beats_file import Beats, as_numbers, read_beats, write_beats
from d2m_model.rhythm.editing import doubled, halved, shifted, snapped, with_beats
from d2m_model.studio.history import History, edited, history_of, keep_history, write_history
from d2m_model.studio.job import Job
from d2m_model.studio.jobs import Jobs, Unknown
from d2m_model.studio.requests import BeatsRequest, ChangeRequest, SaveRequest
from dataset_tools.lib.core.errors import UserError
from dataset_tools.lib.core.json_file import read_json


class NotYet(UserError):
    """The beats are being found. A page keeps its edits until they are there."""


def check_beats_found(job: Job) -> None:
    """Raises NotYet until the beats are there."""
    if job.done("rhythm") is None:
        raise NotYet("the dance's beats must be found first")


def follow_dancer(jobs: Jobs, job: Job, dancer: int) -> None:
    """Find the beats of another dancer. Undo brings back the dancer and the current beats. Raises UserError for a dancer who is not there."""
    _check_dancer(job, dancer)
    if job.done("rhythm"):
        write_history(job.history, beats_history(job), read_beats(job.beats))
    _follow(jobs, job, dancer, {})


def _check_dancer(job: Job, dancer: int) -> None:
    pose = job.done("pose")
    if pose is None or dancer >= pose.result["people"]:
        raise UserError("no such dancer")


def _follow(jobs: Jobs, job: Job, dancer: int, arguments: dict[str, bool]) -> None:
    """Ask for the beats first: a server that is killed before it has written the dancer finds those of the old one again, and never
    has the beats of one dancer for another."""
    jobs.ask(job, "rhythm", "rhythm", arguments)
    before, job.dancer = job.dancer, dancer
    try:
        job.save()
    except OSError:
        job.dancer = before
        raise


def save_beats(jobs: Jobs, job: Job, asked: SaveRequest) -> History | None:
    """Write the person's beats and, if the request says it, how they were edited. Returns the history that was written. If an undone
    edit changed the dancer, the earlier dancer is followed again.

    Raises UserError for beats outside of the video and a dancer who is not there, and Outdated where another page saved meanwhile.
    """
    before = beats_history(job)
    old, found = read_beats(job.beats), read_beats(job.found_beats)
    history, known = None, old
    if asked.history:
        for step in asked.history.steps:
            if step.dancers:
                _check_dancer(job, max(step.dancers))
        history = edited(before, asked.history)
        beats, downbeats, strength = map(np.array, (history.beats, history.downbeats, history.strength))
        try:
            known = replace(old, beats=beats, downbeats=downbeats, strength=strength)
        except ValueError as err:
            raise UserError(f"history: {err}") from None
    now = with_beats(known, asked.beats, asked.downbeats)
    if not same_beats(now, old) or not np.array_equal(now.strength, old.strength):
        _write_beats(job, before, found if same_beats(now, found) else now)
    if history:
        history = write_history(job.history, history, read_beats(job.beats))
        if history.dancer is not None and history.dancer != job.dancer:
            _follow(jobs, job, history.dancer, {"keep": True})
    job.changed()
    return history


def _write_beats(job: Job, before: History, beats: Beats) -> None:
    """Write the history that leads to the current beats, and then other beats."""
    keep_history(job.history, before)
    write_beats(job.beats, beats)


def beats_history(job: Job) -> History:
    """How the current beats were edited."""
    check_beats_found(job)
    return history_of(job.history, job.beats, job.dancer)


def same_beats(a: Beats, b: Beats) -> bool:
    """Whether two dances have the same beats and down-beats."""
    return np.array_equal(a.beats, b.beats) and np.array_equal(a.downbeats, b.downbeats)


def change_beats(job: Job, asked: ChangeRequest) -> None:
    """Change all beats, and write them. Raises UserError for beats outside of the video, too many, and nothing to snap to."""
    if asked.operation == "reset":
        check_beats_found(job)
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
        _write_beats(job, beats_history(job), beats)  # the page saves the step next
    except UserError:
        raise
    except ValueError as err:  # from Beats: too many, or two that fall on one time when they are rounded
        raise UserError(str(err)) from None
    job.changed()


def _edited(job: Job, asked: BeatsRequest) -> Beats:
    check_beats_found(job)
    return with_beats(read_beats(job.beats), asked.beats, asked.downbeats)


def _times_to_snap_to(job: Job, to: str | int) -> list[float]:
    if to == "motion":
        if not (moments := motion_of(job)["kinematic"]):
            raise UserError("the motion has no moment to snap to: no dancer was seen who moves; snap to something else")
        return moments
    beats = _times_of(drawing_of(job, str(to)), "beats")
    if not beats:
        raise UserError("no beat was found in this audio; snap to another")
    return beats


def _times_of(path: Path, name: str) -> list[float]:
    """The list `name` of a file that `drawing` wrote. Raises UserError for another file, which may come from a project."""
    content = read_json(path)
    try:
        return as_numbers(name, content.get(name) if isinstance(content, dict) else None).tolist()
    except ValueError as err:
        raise UserError(f"{path.name}: {err}") from None


def drawing_of(job: Job, name: str) -> Path:
    """The file of what the page draws of audio: 'original' or the number of a take. Raises Unknown."""
    if name == "original" and (read := job.done("read")) and read.result["sound"]:
        return job.folder / "original.json"
    if job.done(f"take-{name}") and "." not in name:
        return job.folder / "takes" / f"{name}.json"
    raise Unknown(name)


def motion_of(job: Job) -> dict[str, list[float]]:
    """{beats: those that the model found, kinematic: moments at which the dancer is slowest}."""
    check_beats_found(job)
    kinematic = _times_of(job.folder / "motion.json", "kinematic")
    return {"beats": read_beats(job.found_beats).beats.tolist(), "kinematic": kinematic}
