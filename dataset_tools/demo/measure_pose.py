"""Compare the poses of the demo corpus with the rendered ground truth: accuracy of joints and identity switches.

`python -m dataset_tools.demo.measure_pose` reads the results of the stages sources, clips and pose in data/demo and measures PCK@0.1
of the primary dancer, and identity switches in clips with two or three dancers. `--crossing N` instead renders N clips of 10 s
in which two or three dancers change places, some twice, walking through each other, because the demo's own dancers hardly cross.

PCK@0.1 is the fraction of visible joints that slot 0 has within a tenth of the dancer's height. The true primary dancer is found
by the tracker's rule from the true joints. Identity switches are those of CLEAR MOT (Bernardin and Stiefelhagen 2008): a dancer
has another slot than in the last frame in which the dancer was found.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.optimize import linear_sum_assignment

from dataset_tools.clips.rows import ClipRow
from dataset_tools.demo.music.genres import GENRES
from dataset_tools.demo.music.songs import compose
from dataset_tools.demo.render.choreography import choreograph, minimum_jerk_path
from dataset_tools.demo.render.lens import Lens
from dataset_tools.demo.render.scene import Scene, render
from dataset_tools.demo.render.skeleton import DOFS
from dataset_tools.demo.train.pose.evaluation import MIN_JOINTS, joint_errors
from dataset_tools.demo.train.training_frames import HELD_OUT_SEED
from dataset_tools.lib.core import cli
from dataset_tools.lib.core.atomic import check_writable, write_text
from dataset_tools.lib.core.errors import UserError
from dataset_tools.lib.core.layout import Layout
from dataset_tools.lib.core.packs import is_stored, local_file
from dataset_tools.lib.core.schema import read_records
from dataset_tools.lib.core.timebase import FPS

PCK_DISTANCE = 0.1  # of the dancer's height
SAME_DANCER = 0.5  # fraction of a dancer's joints that must be this close for a slot to be the dancer
CROSSING_SECONDS, CROSSING_SIZE = 10, (360, 360)
HELD_OUT_CROSSINGS = 100


@dataclass(frozen=True, kw_only=True)
class ClipMeasurement:
    """Measurements of one clip."""

    clip: str
    frames: int
    dancers: int
    found: int
    """Number of slots that are used."""
    primary: int
    """Index of the true primary dancer by the tracker's rule; the renderer's primary dancer is 0."""
    right: int
    """Visible joints of the primary dancer that slot 0 has within a tenth of the dancer's height."""
    visible: int
    """Visible joints of the primary dancer."""
    switches: int
    """Number of identity switches."""


def measure(clip: str, pose: np.ndarray, truth: np.ndarray, size: tuple[int, int]) -> ClipMeasurement:
    """Compare a pose (T, P, 17, 3), x px, y px, confidence, with the truth (T, N, 17, 3), x px, y px, visibility 0, 1 or 2, both in px of
    frames of `size` (width, height)."""
    primary = _find_primary(truth, size)
    right = visible = 0
    for found, people in zip(pose, truth, strict=True):
        asked = people[primary, :, 2] == 2
        right += int((joint_errors(found[0], people[primary])[asked] < PCK_DISTANCE).sum())
        visible += int(asked.sum())
    seen = (pose[..., 2] > 0).any(axis=(0, 2))
    return ClipMeasurement(
        clip=clip, frames=len(pose), dancers=truth.shape[1], found=int(seen.sum()), primary=primary, right=right,
        visible=visible, switches=count_switches(pose, truth),
    )  # fmt: skip


def count_switches(pose: np.ndarray, truth: np.ndarray) -> int:
    """Number of identity switches in a clip; arrays as in `measure`."""
    count, slot_of = 0, {}
    for found, people in zip(pose, truth, strict=True):
        near = np.zeros((len(people), len(found)))
        for n, person in enumerate(people):
            asked = person[:, 2] > 0
            if asked.sum() >= MIN_JOINTS:
                near[n] = [(joint_errors(slot, person)[asked] < PCK_DISTANCE).mean() for slot in found]
        held = np.array([[slot_of.get(n) == slot for slot in range(len(found))] for n in range(len(people))])
        near[near < SAME_DANCER] = 0
        for n, slot in zip(*linear_sum_assignment(-(near + len(people) * (held & (near > 0))))):
            if near[n, slot] > 0:
                count += slot_of.get(n, slot) != slot
                slot_of[n] = slot
    return count


def _find_primary(truth: np.ndarray, size: tuple[int, int]) -> int:
    """Index of the true dancer who is primary by the tracker's rule."""
    from dataset_tools.pose.tracking import Track, rank_dancers

    dancers = {}
    for n in range(truth.shape[1]):
        dancer = Track()
        for frame, person in enumerate(truth[:, n]):
            if (person[:, 2] > 0).sum() >= MIN_JOINTS:
                dancer.add(frame, person)
        if dancer.frames:
            dancers[id(dancer)] = (n, dancer)
    order = rank_dancers([dancer for _, dancer in dancers.values()], *size)
    return dancers[id(order[0])][0]


def measure_corpus(layout: Layout) -> list[ClipMeasurement]:
    """Measure every clip of a rendered corpus that has a pose."""
    out = []
    for clip in read_records(layout.stage("clips") / "rows.csv", ClipRow):
        truth_file, found = (
            layout.stage("sources") / "truth" / f"{clip.id}.npz",
            layout.stage("pose") / f"{clip.id}.npy",
        )
        if clip.status != "ok" or not is_stored(found):
            continue
        if not truth_file.exists():
            raise UserError(f"{truth_file}: file not found; only a rendered corpus can be measured")
        truth = np.load(truth_file, allow_pickle=False)["keypoints"].astype(float)
        scale = np.array([clip.width / clip.crop_w, clip.height / clip.crop_h])
        truth[..., :2] = (truth[..., :2] - (clip.crop_x, clip.crop_y) + 0.5) * scale - 0.5
        with local_file(found) as file:
            pose = np.load(file, allow_pickle=False)
        if pose.shape[2] != truth.shape[2]:
            raise UserError(f"{found}: {pose.shape[2]} joints; measure with pose.layout coco17")
        out.append(measure(clip.id, pose, truth, (clip.width, clip.height)))
    if not out:
        raise UserError(f"{layout.stage('pose')}: no posed clips; run `dvc repro pose` first")
    return out


def render_crossing(number: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield (frame (H, W, 3) uint8 RGB, keypoints (N, 17, 3)) of clip `number`, in which held-out dancers change places.

    Every dancer walks to another one's place, within 1 to 2 s, and after a while to a third place or back.
    """
    rng = np.random.default_rng([HELD_OUT_SEED, 77, number])
    count = 2 + number % 2
    scene = Scene.random(rng, *CROSSING_SIZE, count, standing=(0.5, 0.75), moving=bool(rng.random() < 0.6))
    lens = Lens.random(rng)
    song = compose(HELD_OUT_SEED + 500 + number, sorted(GENRES)[number % len(GENRES)], seconds=CROSSING_SECONDS + 2.0)
    angles = np.stack(
        [
            choreograph(song, 1.0, 1.0 + CROSSING_SECONDS, move_seed=song.seed, seed=song.seed + 1000 * n)
            for n in range(count)
        ],
        axis=1,
    )  # (T, N, D)
    times = np.arange(len(angles)) / FPS
    places = np.array([dancer.place[0] for dancer in scene.dancers])
    first, second = np.roll(np.arange(count), 1), np.roll(np.arange(count), 2)  # of two: there and back
    leave = rng.uniform(1, 2.5), rng.uniform(5.5, 7)
    for n, dancer in enumerate(scene.dancers):
        stops = places[[n, n, first[n], first[n], second[n], second[n]]]
        walk = rng.uniform(1, 2, 2)
        when = np.array([-1, leave[0], leave[0] + walk[0], leave[1], leave[1] + walk[1], CROSSING_SECONDS + 1])
        angles[:, n, DOFS.index("x")] += (minimum_jerk_path(when, stops, times, 1.0) - places[n]) / dancer.scale
    for row, seconds in zip(angles, times, strict=True):
        image, keypoints = render(scene, row, seconds)
        yield lens.expose(rng, image), keypoints


def measure_crossings(layout: Layout, count: int, first: int) -> Iterator[ClipMeasurement]:
    """Render `count` crossing clips from number `first` on, estimate their poses with the demo's weights, and measure them."""
    from dataset_tools.lib.core.weights import locate
    from dataset_tools.pose.estimator import PoseEstimator
    from dataset_tools.pose.tracking import track

    estimator = PoseEstimator(locate("pose_demo", layout))
    for number in range(first, first + count):
        truth = []
        pose = track(
            estimator.find_people(estimator.start(_record_truth(render_crossing(number), truth))), *CROSSING_SIZE
        )
        yield measure(f"crossing{number:02d}", pose, np.array(truth), CROSSING_SIZE)


def _record_truth(pairs: Iterator[tuple[np.ndarray, np.ndarray]], truth: list[np.ndarray]) -> Iterator[np.ndarray]:
    for image, keypoints in pairs:
        truth.append(keypoints)
        yield image


def summarise(clips: list[ClipMeasurement]) -> dict:
    """Totals: PCK@0.1 of the primary dancer (0..1), and identity switches per minute in clips with several dancers."""
    several = [clip for clip in clips if clip.dancers > 1]
    minutes = sum(clip.frames for clip in several) / FPS / 60
    count = sum(clip.switches for clip in several)
    return {
        "clips": len(clips),
        "pck@0.1": round(sum(c.right for c in clips) / max(1, sum(c.visible for c in clips)), 4),
        "clips_with_several": len(several),
        "minutes_with_several": round(minutes, 2),
        "identity_switches": count,
        "identity_switches_per_minute": round(count / minutes, 2) if several else 0.0,
        "primary_is_not_the_renderers": [c.clip for c in clips if c.primary],
    }


def main(argv: list[str] | None = None) -> int:
    """Print the measurements of all clips and their totals."""
    parser = cli.command_parser("dataset_tools.demo.measure_pose", __doc__)
    parser.add_argument("--root", type=Path, default=Path("."), help="working folder with data/demo")
    parser.add_argument("--crossing", type=int, metavar="N", help="render and measure N crossing clips instead")
    parser.add_argument(
        "--first", type=int, default=HELD_OUT_CROSSINGS, metavar="K",
        help="number of the first crossing clip; tracking was tuned on those before the default, %(default)s",
    )  # fmt: skip
    parser.add_argument("--json", type=Path, help="write the summary and every clip's figures there")
    args = parser.parse_args(argv)
    if args.json:
        check_writable(args.json)
    layout = Layout(root=args.root, corpus="demo")
    clips = list(measure_crossings(layout, args.crossing, args.first)) if args.crossing else measure_corpus(layout)
    print("clip         dancers found primary  PCK@0.1 switches")
    for c in clips:
        row = f"{c.clip:12s} {c.dancers:7d} {c.found:5d} {c.primary:7d} {c.right / max(1, c.visible):8.3f} {c.switches:8d}"
        print(row)
    total = summarise(clips)
    print("\n".join(f"{name}: {value}" for name, value in total.items()))
    if args.json:
        write_text(args.json, json.dumps({"summary": total, "clips": [vars(c) for c in clips]}, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    cli.run(main)
