"""How the beats of a job were edited: steps that can be undone and done again, in `history.json` of the job.

    {"format": 1, "version": 7, "at": 2, "steps": [{"label": "moved beat", "removed": [[1.5, false, 0.8]], "added": [[1.52, false, 0.8]]}, ...],
     "beats": [...], "downbeats": [...], "strength": [...], "dancer": 0}

The first `at` steps lead to the beats; the later ones were undone. Any browser that opens the job goes on with them. `beats`,
`downbeats`, `strength` and `dancer` are those that the steps lead to: where the job has others, because they were found again or a
server was killed between the two files, the difference is one more step. Pages send times and down-beats; each step's strengths are put
in here, so that an undone step brings back exactly the beats that were there. The oldest steps are left out beyond `MOST_STEPS` and
`MOST_BYTES`.
"""

import json
from pathlib import Path
from typing import Annotated, Any, Literal

import numpy as np
from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from d2m_model.rhythm.beats_file import MOST_BEATS, Beats, read_beats
from d2m_model.rhythm.editing import WITHIN, nearest
from dataset_tools.lib.core.atomic import write_text
from dataset_tools.lib.core.errors import UserError
from dataset_tools.lib.core.json_file import read_json

MOST_STEPS = 10_000
MOST_BYTES = 8 << 20
ELSEWHERE = "beats found again, or changed elsewhere"
Time = Annotated[float, Field(ge=0, le=1e6)]
Strength = Annotated[float, Field(ge=0, le=1)]
Dancer = Annotated[int, Field(ge=0, lt=1000)]
Told = Annotated[tuple[Time, bool], Field(strict=False)]
Known = Annotated[tuple[Time, bool, Strength | None], Field(strict=False)]
Marks = Annotated[list[Told | Known], Field(max_length=MOST_BEATS)]
"""(time in seconds, whether it is a down-beat, strength or None where it is unknown) of some beats; a page sends no strength."""


class Values(BaseModel):
    """Values of a file or request; unknown ones are refused."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


class Step(Values):
    """An edit: the beats that it took away and those that it put there."""

    label: str = Field(max_length=200)
    removed: Marks
    added: Marks
    dancers: Annotated[tuple[Dancer, Dancer] | None, Field(strict=False)] = None
    """The dancer who was followed before it and the one after it, where it changed the dancer."""


class Edits(Values):
    """What a page did since it last asked: the steps after the first `kept` ones, and how many of all are done."""

    version: int = Field(ge=0)
    kept: int = Field(ge=0)
    steps: list[Step] = Field(max_length=MOST_STEPS)
    at: int = Field(ge=0)


class History(Values):
    """The content of history.json."""

    format: Literal[1] = 1
    version: int = Field(default=0, ge=0)
    """Changes with every save."""
    at: int = Field(default=0, ge=0)
    steps: list[Step] = Field(default=[], max_length=MOST_STEPS)
    beats: list[Time] = Field(default=[], max_length=MOST_BEATS)
    downbeats: list[Time] = Field(default=[], max_length=MOST_BEATS)
    strength: list[Strength] = Field(default=[], max_length=MOST_BEATS)
    dancer: Dancer | None = None
    """None where it is unknown, as strengths are without any: an earlier version wrote neither."""

    @model_validator(mode="after")
    def _within(self) -> "History":
        if self.at > len(self.steps):
            raise ValueError("more steps are done than there are")
        if len(self.strength) not in (0, len(self.beats)):
            raise ValueError("strength must have a number for each beat")
        return self


class Outdated(UserError):
    """Another page saved meanwhile."""


def read_history(path: Path) -> History:
    """Raises UserError for a file that is no history."""
    content = read_json(path, MOST_BYTES + (4 << 20))
    try:
        return History.model_validate(content)
    except ValidationError as err:
        where = ".".join(str(part) for part in err.errors(include_url=False, include_input=False)[0]["loc"])
        raise UserError(f"{path.name}: no history of beats ({where or 'its steps'})") from None


def history_of(path: Path, beats: Path, dancer: int) -> History:
    """The history that leads to the beats of a file and to the dancer who is followed. A missing or damaged one is empty."""
    now = _leading_to(History(dancer=dancer), read_beats(beats))
    try:
        found = read_history(path)
    except UserError:
        return now
    if not found.strength and now.strength:
        known = dict(zip(now.beats, now.strength, strict=True))
        found = found.model_copy(update={"strength": [known.get(time, 1.0) for time in found.beats]})
    step = difference(ELSEWHERE, _marks(found), _marks(now))
    if found.dancer not in (None, dancer):
        label = f"dancer {dancer + 1} followed"
        step = step.model_copy(update={"label": label, "dancers": (found.dancer, dancer)})
    elif not step.removed and not step.added:
        return found.model_copy(update={"dancer": dancer})
    steps = _bounded(found.steps[: found.at] + [step], found.at + 1, found.version)
    return now.model_copy(update={name: getattr(steps, name) for name in ("version", "at", "steps")})


def edited(history: History, edits: Edits) -> History:
    """A history with a page's edits, and the beats and the dancer that they lead to. Raises Outdated where the page does not know the
    newest version."""
    if edits.version != history.version or edits.kept > len(history.steps):
        raise Outdated("the beats were changed in another window meanwhile")
    if edits.at > edits.kept + len(edits.steps):
        raise UserError("history.at: more steps are done than there are")
    changed = history
    if edits.steps:
        changed = _at_step(history, edits.kept)
        changed = changed.model_copy(update={"steps": history.steps[: edits.kept]})
        for step in edits.steps:
            changed = _with_step(changed, step, history)
    changed = _at_step(changed, edits.at)
    bounded = _bounded(changed.steps[: edits.kept + len(edits.steps)], edits.at, history.version)
    return changed.model_copy(update={name: getattr(bounded, name) for name in ("at", "steps")})


def _with_step(history: History, step: Step, now: History) -> History:
    """A history with a page's step at its end. Raises UserError where it begins with another dancer. The strengths of what it adds are those of `now` or of the beats before the last step
    where these have the same times, because an operation made them or the step takes the last one back."""
    if step.dancers and step.dancers[0] != history.dancer:
        raise UserError("history.steps: a step begins with a dancer who is not followed there")
    after = _stated(history, _applied(_marks(history), step.removed, step.added))
    for known in (_at_step(history, history.at - 1) if history.at else now, now):
        if _times(known) == _times(after):
            after = _stated(history, _marks(known))
    made = difference(step.label, _marks(history), _marks(after)).model_copy(update={"dancers": step.dancers})
    dancer = step.dancers[1] if step.dancers else history.dancer
    return after.model_copy(update={"steps": [*history.steps, made], "at": history.at + 1, "dancer": dancer})


def _at_step(history: History, at: int) -> History:
    """A history in which the first `at` steps are done."""
    marks, dancer = _marks(history), history.dancer
    for step in reversed(history.steps[at : history.at]):
        marks = _applied(marks, step.added, step.removed)
        dancer = step.dancers[0] if step.dancers else dancer
    for step in history.steps[history.at : at]:
        marks = _applied(marks, step.removed, step.added)
        dancer = step.dancers[1] if step.dancers else dancer
    return _stated(history, marks).model_copy(update={"at": at, "dancer": dancer})


def _applied(marks: list[Any], removed: list[Any], added: list[Any]) -> list[Any]:
    """Beats without those that were removed, and with those that were added. One without a strength has that of the nearest beat within
    `WITHIN`, or else 1; unknown strengths stay unknown."""
    gone = {mark[0] for mark in removed}
    beats = {mark[0]: mark for mark in marks if mark[0] not in gone}
    beats |= {mark[0]: mark for mark in added if len(mark) == 3}
    told = [mark for mark in added if len(mark) == 2]
    strength = np.array([mark[2] for mark in marks], np.float64)  # NaN for unknown
    shares = np.ones(len(told))
    if marks and told:
        times, of = np.array([mark[0] for mark in told]), np.array([mark[0] for mark in marks])
        near = nearest(times, of)
        shares = np.where(
            np.abs(times - of[near]) <= WITHIN, strength[near], np.nan if np.isnan(strength).all() else 1.0
        )
    beats |= {
        time: (time, down, None if np.isnan(share) else share)
        for (time, down), share in zip(told, shares.tolist(), strict=True)
    }
    return [beats[time] for time in sorted(beats)]


def write_history(path: Path, history: History, now: Beats) -> History:
    """Write the next version of a history that leads to these beats, complete or not at all; what was written."""
    written = _leading_to(history, now).model_copy(update={"version": history.version + 1})
    keep_history(path, written)
    return written


def keep_history(path: Path, history: History) -> None:
    """Write a history as it is. Before other beats are written, so that the step that leads to them can still be described."""
    write_text(path, json.dumps(history.model_dump()) + "\n")


def difference(label: str, old: list[Any], new: list[Any]) -> Step:
    """The step from the old beats to the new ones."""
    before, after = set(old), set(new)
    return Step(label=label, removed=[b for b in old if b not in after], added=[b for b in new if b not in before])


def _marks(history: History) -> list[Any]:
    """(time, whether it is a down-beat, strength or None) of the current beats."""
    down = set(history.downbeats)
    strength: list[Any] = list(history.strength) or [None] * len(history.beats)
    return [(time, time in down, share) for time, share in zip(history.beats, strength, strict=True)]


def _times(history: History) -> tuple[list[float], list[float]]:
    return history.beats, history.downbeats


def _stated(history: History, marks: list[Any]) -> History:
    """A history with these as its current beats."""
    known = any(mark[2] is not None for mark in marks)
    strength = [1.0 if mark[2] is None else mark[2] for mark in marks] if known else []
    lists = {"beats": [mark[0] for mark in marks], "downbeats": [mark[0] for mark in marks if mark[1]]}
    return history.model_copy(update=lists | {"strength": strength})


def _leading_to(history: History, now: Beats) -> History:
    return history.model_copy(update={name: getattr(now, name).tolist() for name in ("beats", "downbeats", "strength")})


def _bounded(steps: list[Step], at: int, version: int) -> History:
    """As many of these steps as a file may hold: the newest that are done, then the first that were undone."""
    first = last = at
    left = MOST_BYTES
    while first > 0 and last - first < MOST_STEPS and (left := left - _size(steps[first - 1])) > 0:
        first -= 1
    while last < len(steps) and last - first < MOST_STEPS and (left := left - _size(steps[last])) > 0:
        last += 1
    return History(version=version, at=at - first, steps=steps[first:last])


def _size(step: Step) -> int:
    """About the bytes of a step in the file."""
    return 60 + 2 * len(step.label) + 27 * (len(step.removed) + len(step.added))
