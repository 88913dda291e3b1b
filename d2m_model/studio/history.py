"""How the beats of a job were edited: steps that can be undone and done again, in `history.json` of the job.

    {"format": 1, "version": 7, "at": 2, "steps": [{"label": "moved beat", "removed": [[1.5, false]], "added": [[1.52, false]]}, ...],
     "beats": [...], "downbeats": [...]}

The first `at` steps lead to the beats; the later ones were undone. Any browser that opens the job goes on with them. `beats` and
`downbeats` are those that the steps lead to: where beats.json has others, because they were found again or a server was killed
between the two files, the difference is one more step. The oldest steps are left out beyond `MOST_STEPS` and `MOST_BYTES`.
"""

import json
from pathlib import Path
from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, ValidationError, model_validator

from d2m_model.rhythm.beats_file import MOST_BEATS, Beats, read_beats
from dataset_tools.lib.core.atomic import write_text
from dataset_tools.lib.core.errors import UserError
from dataset_tools.lib.core.json_file import read_json

MOST_STEPS = 10_000
MOST_BYTES = 8 << 20
ELSEWHERE = "beats found again, or changed elsewhere"
Time = Annotated[float, Field(ge=0, le=1e6)]
Marks = Annotated[list[Annotated[tuple[Time, bool], Field(strict=False)]], Field(max_length=MOST_BEATS)]
"""(time in seconds, whether it is a down-beat) of some beats."""


class Values(BaseModel):
    """Values of a file or request; unknown ones are refused."""

    model_config = ConfigDict(extra="forbid", strict=True, allow_inf_nan=False)


class Step(Values):
    """An edit: the beats that it took away and those that it put there."""

    label: str = Field(max_length=200)
    removed: Marks
    added: Marks


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

    @model_validator(mode="after")
    def _within(self) -> "History":
        if self.at > len(self.steps):
            raise ValueError("more steps are done than there are")
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


def history_of(path: Path, beats: Path) -> History:
    """The history that leads to the beats of a file. A missing or damaged one is empty."""
    now = read_beats(beats)
    try:
        found = read_history(path)
    except UserError:
        return _leading_to(History(), now)
    step = difference(ELSEWHERE, marks_of(found.beats, found.downbeats), marks_of(now.beats, now.downbeats))
    if not step.removed and not step.added:
        return found
    return _leading_to(_bounded(found.steps[: found.at] + [step], found.at + 1, found.version), now)


def edited(history: History, edits: Edits) -> History:
    """A history with a page's edits. Raises Outdated where the page does not know the newest version."""
    if edits.version != history.version or edits.kept > len(history.steps):
        raise Outdated("the beats were changed in another window meanwhile")
    steps = history.steps[: edits.kept] + edits.steps
    if edits.at > len(steps):
        raise UserError("history.at: more steps are done than there are")
    return _bounded(steps, edits.at, history.version)


def write_history(path: Path, history: History, now: Beats) -> History:
    """Write the next version of a history that leads to these beats, complete or not at all; what was written."""
    written = _leading_to(history, now).model_copy(update={"version": history.version + 1})
    write_text(path, json.dumps(written.model_dump()) + "\n")
    return written


def marks_of(beats: Any, downbeats: Any) -> list[tuple[float, bool]]:
    """(time, whether it is a down-beat) of beats (n,) in seconds."""
    down = {float(time) for time in downbeats}
    return [(float(time), float(time) in down) for time in beats]


def difference(label: str, old: list[tuple[float, bool]], new: list[tuple[float, bool]]) -> Step:
    """The step from the old beats to the new ones."""
    before, after = set(old), set(new)
    return Step(label=label, removed=[b for b in old if b not in after], added=[b for b in new if b not in before])


def _leading_to(history: History, now: Beats) -> History:
    return history.model_copy(update={"beats": now.beats.tolist(), "downbeats": now.downbeats.tolist()})


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
    return 60 + 2 * len(step.label) + 20 * (len(step.removed) + len(step.added))
