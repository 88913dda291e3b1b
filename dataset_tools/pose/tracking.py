"""Who is who over time: detections of single frames become dancers with an identity, the primary one first.

Tracking by detection: from frame to frame the people found are assigned to the dancers known (Hungarian algorithm) by
how far their joints are from where each dancer's motion leads; dancers known for long choose first. A dancer unseen for
a while is kept in mind, with the colours that skin and clothes had while nobody was in front: where the motion leaves it
open who comes out from behind whom, they decide.

The primary dancer is the foremost: of those with at least half of the largest presence times mean box area, the one whose
feet are lowest in the picture; feet that are out of it count as at its lower edge. Of dancers whose feet are level within
1 % of the picture's height, the most central one.
"""

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from scipy.optimize import linear_sum_assignment

from dataset_tools.pose.appearance import blended, unlikeness
from dataset_tools.pose.layouts import ANKLES, quantise

MEMORY = 60  # frames that an unseen dancer stays known
LOOK_BACK = 10  # frames from which a dancer's motion is estimated
LOOK_AHEAD = 12  # frames for which that motion is believed
GATE = 0.5  # largest assigned distance, in body sizes
GATE_NEXT = 0.05  # that of one who plainly goes on
DOUBT = 0.2  # a frame unseen: share by which a distance counts less, for at most LOOK_AHEAD frames
UNLIKE = 0.3  # body sizes that a colour difference of 1 counts as much as
UNSURE = 0.5  # colour difference of those who have no two parts to compare
CLEAR = 0.2  # of the joints: a dancer with more of them in others' boxes is not looked at
RENEWED = 0.1  # share of the colours remembered that a new look replaces
SETTLED = 10  # frames after which a dancer chooses before newer ones
LARGE = 0.5  # of the best score: may be the primary one
LEVEL = 0.01  # of the picture height


@dataclass
class Track:
    """One dancer."""

    frames: list[int] = field(default_factory=list)
    poses: list[np.ndarray] = field(default_factory=list)
    """(J, 3) at each of `frames`."""
    last: np.ndarray | None = None
    """(J, 3): each joint where it was last seen, moved along with the body since."""
    centres: list[np.ndarray] = field(default_factory=list)
    look: np.ndarray | None = None
    """(parts, 3) colours, of `appearance`; None where they were never clearly seen."""

    def add(self, frame: int, pose: np.ndarray, look: np.ndarray | None = None) -> None:
        """Go on with a pose (J, 3) in a frame, and a look (parts, 3) where one was seen."""
        if look is not None:
            self.look = blended(self.look, look, RENEWED)
        seen = pose[:, 2] > 0
        if self.last is None:
            self.last = pose.copy()
        else:
            self.last[:, :2] += _centre(pose) - self.centres[-1]
            self.last[seen] = pose[seen]
        self.frames.append(frame)
        self.poses.append(pose)
        self.centres.append(_centre(pose))

    def predicted(self, frame: int) -> np.ndarray:
        """(J, 3) at `frame` if the body goes on as it did in the last frames."""
        first = bisect_right(self.frames, self.frames[-1] - LOOK_BACK)
        span = self.frames[-1] - self.frames[first]
        velocity = (self.centres[-1] - self.centres[first]) / span if span else np.zeros(2)
        pose = self.last.copy()
        pose[:, :2] += velocity * min(frame - self.frames[-1], LOOK_AHEAD)
        return pose


@dataclass(frozen=True)
class Person:
    """Someone found in a frame."""

    pose: np.ndarray
    """(J, 3)."""
    look: np.ndarray | None
    """(parts, 3) colours; None where unknown."""
    clear: bool
    """Whether the colours are this person's: hardly a joint lies in someone else's box."""


def track(
    detections: Iterable[np.ndarray | tuple[np.ndarray, np.ndarray]],
    width: int,
    height: int,
    *,
    max_people: int = 5,
    gap_frames: int = 6,
    min_frames: int = 5,
) -> np.ndarray:
    """Detections of successive frames, each (N, J, 3) x px, y px, confidence -> (T, P, J, 3) float32, P = max_people.

    A detection may be a pair: that and the people's colours (N, parts, 3), as `appearance` gives them in the network's units.
    Slot 0 is the primary dancer, the others follow by presence times box area; a slot is one person throughout. Dancers seen in
    fewer than `min_frames` frames are taken for errors (in clips of fewer frames: those not seen in every frame). A
    joint missing for at most `gap_frames` frames between two sightings is interpolated, with half the lower one's
    confidence; other missing joints are (0, 0, 0). Numbers come in `quantise`'s steps.

    Raises ValueError where there are no frames.
    """
    joints = 0

    def noted() -> Iterator[list[Person]]:
        nonlocal joints
        for found in detections:
            people, colours = found if isinstance(found, tuple) else (found, None)
            joints = people.shape[1]
            yield _persons(np.asarray(people, np.float32), colours)

    tracks, count = _associate(noted())
    if not count:
        raise ValueError("no frames to track")
    tracks = [t for t in tracks if len(t.frames) >= min(min_frames, count)]
    out = np.zeros((count, max_people, joints, 3), np.float32)
    for slot, dancer in enumerate(ranked(tracks, width, height)[:max_people]):
        out[dancer.frames, slot] = dancer.poses
        _fill_gaps(out[:, slot], gap_frames)
    return quantise(out)


def _persons(people: np.ndarray, colours: np.ndarray | None) -> list[Person]:
    kept = [n for n, pose in enumerate(people) if (pose[:, 2] > 0).any()]
    if colours is None:
        return [Person(people[n], None, False) for n in kept]
    return [Person(people[n], colours[n], _clear(people[n], [people[m] for m in kept if m != n])) for n in kept]


def _clear(pose: np.ndarray, others: list[np.ndarray]) -> bool:
    points = pose[pose[:, 2] > 0, :2]
    inside = np.zeros(len(points), bool)
    for other in others:
        seen = other[other[:, 2] > 0, :2]
        low, high = seen.min(axis=0), seen.max(axis=0)
        margin = 0.05 * (high - low)
        inside |= ((points >= low - margin) & (points <= high + margin)).all(axis=1)
    return inside.mean() <= CLEAR


def _associate(detections: Iterable[list[Person]]) -> tuple[list[Track], int]:
    """The tracks of all detections, and how many frames there were.

    In every frame those who plainly go on choose first, then the others who were known for a while, last the new ones:
    half a dancer whom the network found twice cannot take the other half's identity. Where two dancers cross and one
    person appears, it is rather the hidden one who comes out than the seen one who jumps: distances shrink with the
    time that a dancer was unseen.
    """
    tracks: list[Track] = []
    frame = -1
    for frame, people in enumerate(detections):
        known = [t for t in tracks if frame - t.frames[-1] <= MEMORY]
        settled = [t for t in known if len(t.frames) >= SETTLED]
        people = _assign([t for t in settled if frame - t.frames[-1] == 1], people, frame, GATE_NEXT, by_look=False)
        people = _assign(settled, people, frame, GATE)
        people = _assign([t for t in known if len(t.frames) < SETTLED], people, frame, GATE)
        for person in people:
            tracks.append(Track())
            _add(tracks[-1], frame, person)
    return tracks, frame + 1


def _assign(tracks: list[Track], people: list[Person], frame: int, gate: float, by_look: bool = True) -> list[Person]:
    """Give each of `tracks` at most one of `people` within `gate`, at least total distance and, if asked, difference of
    colours; return the people left over."""
    tracks = [t for t in tracks if t.frames[-1] < frame]
    if not tracks or not people:
        return people
    doubt = np.array([1 + DOUBT * min(frame - t.frames[-1] - 1, LOOK_AHEAD) for t in tracks])
    away = np.array([[_distance(t.predicted(frame), p.pose) for p in people] for t in tracks]) / doubt[:, None]
    unlike = np.array([[_unlike(t.look, p.look) for p in people] for t in tracks]) if by_look else 0.0
    # a far pair costs more than any number of near ones, so no near pair is given up for it
    cost = np.where(away < gate, away + UNLIKE * unlike, 1e3)
    pairs = [(r, c) for r, c in zip(*linear_sum_assignment(cost)) if away[r, c] < gate]
    for row, column in pairs:
        _add(tracks[row], frame, people[column])
    taken = {column for _, column in pairs}
    return [person for column, person in enumerate(people) if column not in taken]


def _add(dancer: Track, frame: int, person: Person) -> None:
    dancer.add(frame, person.pose, person.look if person.clear else None)


def _unlike(remembered: np.ndarray | None, seen: np.ndarray | None) -> float:
    difference = None if remembered is None or seen is None else unlikeness(remembered, seen)
    return UNSURE if difference is None else difference


def _distance(expected: np.ndarray, found: np.ndarray) -> float:
    """Mean distance of the joints both have (else of the centres), in sizes of the larger of both bodies."""
    size = max(_size(expected), _size(found), 1.0)
    both = (expected[:, 2] > 0) & (found[:, 2] > 0)
    if both.sum() < 3:
        return float(np.linalg.norm(_centre(expected) - _centre(found))) / size
    return float(np.linalg.norm(expected[both, :2] - found[both, :2], axis=1).mean()) / size


def ranked(tracks: list[Track], width: int, height: int) -> list[Track]:
    """The primary dancer, then the others by presence times mean box area."""
    if not tracks:
        return []
    areas = [sum(float(np.prod(np.minimum(_extent(p), (width, height)))) for p in t.poses) for t in tracks]
    feet = [_feet(t, height) for t in tracks]
    off_centre = [abs(float(np.mean([c[0] for c in t.centres])) - width / 2) for t in tracks]

    large = [i for i, area in enumerate(areas) if area >= LARGE * max(areas)]
    lowest = max(feet[i] for i in large)
    level = [i for i in large if feet[i] >= lowest - LEVEL * height]
    primary = min(level, key=lambda i: off_centre[i])
    others = sorted((i for i in range(len(tracks)) if i != primary), key=lambda i: (-areas[i], off_centre[i]))
    return [tracks[i] for i in (primary, *others)]


def _feet(dancer: Track, height: int) -> float:
    """Usual y px of the lower ankle; the picture's lower edge if ankles are seen in less than half of the frames."""
    ankles = np.array(dancer.poses)[:, ANKLES[dancer.poses[0].shape[0]]]
    seen = (ankles[..., 2] > 0).any(axis=1)
    if seen.mean() < 0.5:
        return float(height)
    return float(np.median(np.where(ankles[..., 2] > 0, ankles[..., 1], 0)[seen].max(axis=1)))


def _fill_gaps(pose: np.ndarray, gap_frames: int) -> None:
    """Interpolate short gaps of each joint of (T, J, 3) in place."""
    for joint in range(pose.shape[1]):
        seen = np.flatnonzero(pose[:, joint, 2] > 0)
        for before, after in pairwise(seen):
            if 1 < after - before <= gap_frames + 1:
                share = ((np.arange(before + 1, after) - before) / (after - before))[:, None]
                ends = pose[before, joint], pose[after, joint]
                pose[before + 1 : after, joint] = (1 - share) * ends[0] + share * ends[1]
                pose[before + 1 : after, joint, 2] = 0.5 * min(ends[0][2], ends[1][2])


def _centre(pose: np.ndarray) -> np.ndarray:
    """Median of the seen joints: a waving arm hardly moves it."""
    return np.median(pose[pose[:, 2] > 0, :2], axis=0)


def _extent(pose: np.ndarray) -> np.ndarray:
    """(width, height) of the box around the seen joints."""
    return np.ptp(pose[pose[:, 2] > 0, :2], axis=0)


def _size(pose: np.ndarray) -> float:
    return float(_extent(pose).max())
