"""Measure how well a pose model finds rendered dancers: PCK, with the PoseEstimator of the stage pose.

PCK@a is the fraction of visible joints that were found within a x the dancer's height, which is the height of the box around the
dancer's joints in the frame. All joints of a dancer who was not found count as missed. Dancers with fewer than 6 joints in the
frame are ignored.
"""

from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
from scipy.optimize import linear_sum_assignment

PARTS = {
    "all": list(range(17)), "head": [0, 1, 2, 3, 4], "shoulder": [5, 6], "elbow": [7, 8], "wrist": [9, 10],
    "hip": [11, 12], "knee": [13, 14], "ankle": [15, 16],
}  # fmt: skip
MIN_JOINTS = 6


def evaluate(weights: Path, frames: Iterable[tuple[np.ndarray, list[np.ndarray]]], long_edge: int = 257) -> dict:
    """Measure `weights` on pairs (image, keypoints (17, 3) of each dancer, with visibility 0, 1 or 2). Returns percentages."""
    from dataset_tools.pose.estimator import PoseEstimator

    estimator = PoseEstimator(weights, long_edge=long_edge)
    return score((next(estimator.people([image])), people) for image, people in frames)


def score(pairs: Iterable[tuple[np.ndarray, list[np.ndarray]]]) -> dict:
    """Compare the people found (N, 17, 3) with the true ones, frame by frame."""
    errors, dancers, found_dancers, extra, frames = [], 0, 0, 0, 0
    for found, people in pairs:
        people = [p for p in people if (p[:, 2] > 0).sum() >= MIN_JOINTS]
        distances = np.array([[joint_errors(f, p) for f in found] for p in people]).reshape(len(people), len(found), 17)
        asked = np.array([p[:, 2] > 0 for p in people]).reshape(len(people), 1, 17)
        near = ((distances < 0.1) & asked).sum(-1) / asked.sum(-1).clip(1) if len(people) else np.zeros((0, len(found)))
        match = {r: c for r, c in zip(*linear_sum_assignment(-near)) if near[r, c] >= 0.5}
        for row, person in enumerate(people):
            error = distances[row, match[row]] if row in match else np.full(17, np.inf)
            errors.append(np.where(person[:, 2] == 2, error, np.nan))
        frames, dancers = frames + 1, dancers + len(people)
        found_dancers, extra = found_dancers + len(match), extra + len(found) - len(match)
    of = np.array(errors)
    result: dict[str, Any] = {"frames": frames, "dancers": dancers, "dancers_found": _percent(found_dancers, dancers)}
    result["false_people_per_frame"] = round(extra / frames, 3)
    for within in (0.1, 0.05):
        result[f"pck@{within}"] = {
            part: _percent((of[:, joints] < within).sum(), (~np.isnan(of[:, joints])).sum())
            for part, joints in PARTS.items()
        }
    return result


def joint_errors(found: np.ndarray, person: np.ndarray) -> np.ndarray:
    """(17,) distance of each joint in dancer's heights; infinite where it was not found."""
    height = max(np.ptp(person[person[:, 2] > 0, 1]), 1.0)
    distance = np.linalg.norm(found[:, :2] - person[:, :2], axis=1) / height
    return np.where((found[:, 2] > 0) & (person[:, 2] > 0), distance, np.inf)


def _percent(part: int, whole: int) -> float:
    return round(100 * int(part) / max(1, int(whole)), 1)
