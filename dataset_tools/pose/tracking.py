"""Track people over time: detections in single frames become dancers with an identity, the primary dancer first.

Tracking by detection: in each frame, the people found are assigned to the known dancers (Hungarian algorithm) by the distance of
their joints from each dancer's predicted pose. Dancers who have been known for some time are assigned first. A dancer who is not
found is remembered for a while, with the colours of skin and clothes from moments when nobody was in front. The colours decide
who comes out from behind whom if the motion does not.

The primary dancer is the one in front: among the dancers with at least half of the largest presence times mean box area, the one
whose feet are lowest in the frame. Feet outside the frame count as at its lower edge. Of dancers whose feet are level within 1 %
of the frame's height, the most central one is primary.
"""

from bisect import bisect_right
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field
from itertools import pairwise

import numpy as np
from scipy.optimize import linear_sum_assignment

from dataset_tools.pose.appearance import blend, colour_difference
from dataset_tools.pose.layouts import ANKLES, quantise

MEMORY_FRAMES = 60  # a dancer who is not found is remembered for so many frames
MOTION_FRAMES = 10  # a dancer's motion is estimated from so many frames
PREDICTION_FRAMES = 12  # and extrapolated for so many frames
MAX_DISTANCE = 0.5  # largest distance of an assignment, in body sizes
MAX_DISTANCE_NEXT = 0.05  # the same for a dancer who obviously continues from the frame before
DISCOUNT_PER_FRAME = 0.2  # distances are divided by 1 + this for each frame unseen, at most PREDICTION_FRAMES of them
COLOUR_WEIGHT = 0.3  # body sizes that a colour difference of 1 costs
UNKNOWN_COLOUR_DIFFERENCE = 0.5  # for people without two parts to compare
MAX_OCCLUDED = 0.2  # with a larger fraction of joints in others' boxes, the colours of a person are not used
COLOUR_UPDATE = 0.1  # weight of new colours in the remembered ones
SETTLED_FRAMES = 10  # dancers seen in so many frames are assigned before newer ones
MIN_SCORE = 0.5  # of the largest score: a dancer with less can't be primary
LEVEL_TOLERANCE = 0.01  # of the frame's height


@dataclass
class Track:
    """One dancer."""

    frames: list[int] = field(default_factory=list)
    poses: list[np.ndarray] = field(default_factory=list)
    """Pose (J, 3) in each of `frames`."""
    last: np.ndarray | None = None
    """(J, 3): each joint where it was last found, moved with the body since then."""
    centres: list[np.ndarray] = field(default_factory=list)
    appearance: np.ndarray | None = None
    """Colours (parts, 3) of `compute_appearance`; None if they were never clearly visible."""

    def add(self, frame: int, pose: np.ndarray, appearance: np.ndarray | None = None) -> None:
        """Add a pose (J, 3) in a frame, with colours (parts, 3) if they are clearly visible."""
        if appearance is not None:
            self.appearance = blend(self.appearance, appearance, COLOUR_UPDATE)
        seen = pose[:, 2] > 0
        if self.last is None:
            self.last = pose.copy()
        else:
            self.last[:, :2] += _centre(pose) - self.centres[-1]
            self.last[seen] = pose[seen]
        self.frames.append(frame)
        self.poses.append(pose)
        self.centres.append(_centre(pose))

    def predict(self, frame: int) -> np.ndarray:
        """Predicted pose (J, 3) in `frame` if the body moves as in the last frames."""
        first = bisect_right(self.frames, self.frames[-1] - MOTION_FRAMES)
        span = self.frames[-1] - self.frames[first]
        velocity = (self.centres[-1] - self.centres[first]) / span if span else np.zeros(2)
        pose = self.last.copy()
        pose[:, :2] += velocity * min(frame - self.frames[-1], PREDICTION_FRAMES)
        return pose


@dataclass(frozen=True)
class Person:
    """A person found in a frame."""

    pose: np.ndarray
    """(J, 3)."""
    appearance: np.ndarray | None
    """Colours (parts, 3); None if unknown."""
    clear: bool
    """Whether the colours are this person's own, because hardly any joint is in another person's box."""


def track(
    detections: Iterable[np.ndarray | tuple[np.ndarray, np.ndarray]],
    width: int,
    height: int,
    *,
    max_people: int = 5,
    gap_frames: int = 6,
    min_frames: int = 5,
    every: int = 1,
) -> np.ndarray:
    """Track the people of successive frames. Returns (T, P, J, 3) float32, P = max_people, rounded by `quantise`.

    detections: for frames 0, every, 2 every ... the people (N, J, 3), x px, y px, confidence, or a pair of these and the people's colours
    (N, parts, 3) by `compute_appearance`.
    width, height: of the frames, in px.
    gap_frames: a joint that is missing for at most so many frames is interpolated, with half the lower of the two confidences.
    Other missing joints are (0, 0, 0).
    min_frames: dancers found in fewer frames are taken for errors (in shorter clips, those not found in every frame).
    every: between two frames with detections, joints move in a straight line; after the last one they stay for every - 1 frames. So
    T is the number of detections times `every`.

    A slot is the same person throughout. Slot 0 is the primary dancer; the others follow by presence times box area. Raises
    ValueError if there are no frames.
    """
    joints = 0

    def noted() -> Iterator[list[Person]]:
        nonlocal joints
        for found in detections:
            people, colours = found if isinstance(found, tuple) else (found, None)
            joints = people.shape[1]
            yield _make_persons(np.asarray(people, np.float32), colours)

    tracks, count = _associate(noted(), every)
    if not count:
        raise ValueError("no frames to track")
    tracks = [t for t in tracks if len(t.frames) >= min(-(-min_frames // every), count)]
    out = np.zeros((count, max_people, joints, 3), np.float32)
    for slot, dancer in enumerate(rank_dancers(tracks, width, height)[:max_people]):
        out[np.array(dancer.frames) // every, slot] = dancer.poses
        _fill_gaps(out[:, slot], max(0, (gap_frames + 1) // every - 1))
    return quantise(_at_every_frame(out, every))


def _at_every_frame(poses: np.ndarray, every: int) -> np.ndarray:
    """Poses (T', P, J, 3) of each `every`th frame -> (T' every, P, J, 3). Between them, joints found in both move in a straight line;
    the others have the confidence 0."""
    share = np.arange(every, dtype=np.float32)[:, None, None, None] / every
    after = np.concatenate([poses[1:], poses[-1:]])
    between = (1 - share) * poses[:, None] + share * after[:, None]
    between[..., 2] = np.minimum(poses[..., 2], after[..., 2])[:, None]
    between[between[..., 2] == 0] = 0
    between[:, 0] = poses
    return between.reshape(-1, *poses.shape[1:])


def _make_persons(people: np.ndarray, colours: np.ndarray | None) -> list[Person]:
    kept = [n for n, pose in enumerate(people) if (pose[:, 2] > 0).any()]
    if colours is None:
        return [Person(people[n], None, False) for n in kept]
    return [Person(people[n], colours[n], _is_clear(people[n], [people[m] for m in kept if m != n])) for n in kept]


def _is_clear(pose: np.ndarray, others: list[np.ndarray]) -> bool:
    points = pose[pose[:, 2] > 0, :2]
    inside = np.zeros(len(points), bool)
    for other in others:
        seen = other[other[:, 2] > 0, :2]
        low, high = seen.min(axis=0), seen.max(axis=0)
        margin = 0.05 * (high - low)
        inside |= ((points >= low - margin) & (points <= high + margin)).all(axis=1)
    return inside.mean() <= MAX_OCCLUDED


def _associate(detections: Iterable[list[Person]], every: int) -> tuple[list[Track], int]:
    """(tracks of all detections, number of detections). Detections are of each `every`th frame.

    In every frame, dancers who obviously continue are assigned first, then others who have been known for a while, then new ones. So
    if the network finds a dancer twice, in halves, the new half cannot take over the identity. When two dancers cross and one
    person appears, it is more likely that the hidden dancer comes out than that the visible one jumps. Therefore distances count
    less the longer a dancer was not found.
    """
    tracks: list[Track] = []
    count = 0
    for count, people in enumerate(detections, 1):
        frame = (count - 1) * every
        known = [t for t in tracks if frame - t.frames[-1] <= MEMORY_FRAMES]
        settled = [t for t in known if len(t.frames) * every >= SETTLED_FRAMES]
        new = [t for t in known if len(t.frames) * every < SETTLED_FRAMES]
        next_to = [t for t in settled if frame - t.frames[-1] == every]
        near = min(MAX_DISTANCE_NEXT * every, MAX_DISTANCE)
        people = _assign(next_to, people, frame, near, every, by_appearance=False)
        people = _assign(settled, people, frame, MAX_DISTANCE, every)
        people = _assign(new, people, frame, MAX_DISTANCE, every)
        for person in people:
            tracks.append(Track())
            _add(tracks[-1], frame, person)
    return tracks, count


def _assign(
    tracks: list[Track], people: list[Person], frame: int, gate: float, every: int, by_appearance: bool = True
) -> list[Person]:
    """Assign to each of `tracks` at most one of `people` within distance `gate`, with the least total distance and, with
    `by_appearance`, colour difference. Returns the people who are left."""
    tracks = [t for t in tracks if t.frames[-1] < frame]
    if not tracks or not people:
        return people
    doubt = np.array([1 + DISCOUNT_PER_FRAME * min(frame - t.frames[-1] - every, PREDICTION_FRAMES) for t in tracks])
    away = np.array([[_distance(t.predict(frame), p.pose) for p in people] for t in tracks]) / doubt[:, None]
    unlike = (
        np.array([[_colour_difference(t.appearance, p.appearance) for p in people] for t in tracks])
        if by_appearance
        else 0.0
    )
    # a far pair costs more than all near pairs together, so no near pair is given up for it
    cost = np.where(away < gate, away + COLOUR_WEIGHT * unlike, 1e3)
    pairs = [(r, c) for r, c in zip(*linear_sum_assignment(cost)) if away[r, c] < gate]
    for row, column in pairs:
        _add(tracks[row], frame, people[column])
    taken = {column for _, column in pairs}
    return [person for column, person in enumerate(people) if column not in taken]


def _add(dancer: Track, frame: int, person: Person) -> None:
    dancer.add(frame, person.pose, person.appearance if person.clear else None)


def _colour_difference(remembered: np.ndarray | None, seen: np.ndarray | None) -> float:
    difference = None if remembered is None or seen is None else colour_difference(remembered, seen)
    return UNKNOWN_COLOUR_DIFFERENCE if difference is None else difference


def _distance(expected: np.ndarray, found: np.ndarray) -> float:
    """Mean distance of the joints that both have (of the centres if there are too few), in units of the larger body size."""
    size = max(_body_size(expected), _body_size(found), 1.0)
    both = (expected[:, 2] > 0) & (found[:, 2] > 0)
    if both.sum() < 3:
        return float(np.linalg.norm(_centre(expected) - _centre(found))) / size
    return float(np.linalg.norm(expected[both, :2] - found[both, :2], axis=1).mean()) / size


def rank_dancers(tracks: list[Track], width: int, height: int) -> list[Track]:
    """The tracks in order: the primary dancer, then the others by presence times mean box area."""
    if not tracks:
        return []
    areas = [sum(float(np.prod(np.minimum(_extent(p), (width, height)))) for p in t.poses) for t in tracks]
    feet = [_feet_height(t, height) for t in tracks]
    off_centre = [abs(float(np.mean([c[0] for c in t.centres])) - width / 2) for t in tracks]

    large = [i for i, area in enumerate(areas) if area >= MIN_SCORE * max(areas)]
    lowest = max(feet[i] for i in large)
    level = [i for i in large if feet[i] >= lowest - LEVEL_TOLERANCE * height]
    primary = min(level, key=lambda i: off_centre[i])
    others = sorted((i for i in range(len(tracks)) if i != primary), key=lambda i: (-areas[i], off_centre[i]))
    return [tracks[i] for i in (primary, *others)]


def _feet_height(dancer: Track, height: int) -> float:
    """Median y px of the lower ankle; the frame's lower edge if ankles are found in less than half of the frames."""
    ankles = np.array(dancer.poses)[:, ANKLES[dancer.poses[0].shape[0]]]
    seen = (ankles[..., 2] > 0).any(axis=1)
    if seen.mean() < 0.5:
        return float(height)
    return float(np.median(np.where(ankles[..., 2] > 0, ankles[..., 1], 0)[seen].max(axis=1)))


def _fill_gaps(pose: np.ndarray, gap_frames: int) -> None:
    """Interpolate short gaps of each joint of a pose (T, J, 3) in place."""
    for joint in range(pose.shape[1]):
        seen = np.flatnonzero(pose[:, joint, 2] > 0)
        for before, after in pairwise(seen):
            if 1 < after - before <= gap_frames + 1:
                share = ((np.arange(before + 1, after) - before) / (after - before))[:, None]
                ends = pose[before, joint], pose[after, joint]
                pose[before + 1 : after, joint] = (1 - share) * ends[0] + share * ends[1]
                pose[before + 1 : after, joint, 2] = 0.5 * min(ends[0][2], ends[1][2])


def _centre(pose: np.ndarray) -> np.ndarray:
    """Median of the found joints, which a waving arm hardly changes."""
    return np.median(pose[pose[:, 2] > 0, :2], axis=0)


def _extent(pose: np.ndarray) -> np.ndarray:
    """(width, height) of the box around the found joints."""
    return np.ptp(pose[pose[:, 2] > 0, :2], axis=0)


def _body_size(pose: np.ndarray) -> float:
    return float(_extent(pose).max())
