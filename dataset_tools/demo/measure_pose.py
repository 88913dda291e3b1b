"""How well the demo corpus's dancers were found and told apart, against what was rendered.

`python -m dataset_tools.demo.measure_pose` reads what the stages sources, clips and pose left in data/demo: PCK@0.1 of
the primary dancer and identity switches of the clips with two or three dancers. `--crossing N` renders N clips of 10 s
in which two or three dancers change places, some twice, walking through each other, and poses them here: the demo's own
dancers hardly cross.

PCK@0.1 is the share of visible joints found in slot 0 within a tenth of the dancer's height. The true primary dancer is
the one that the tracker's rule names when it is given the true joints. Identity switches are those of CLEAR MOT
(Bernardin and Stiefelhagen, 2008): a dancer whose slot is not the one of the last frame in which there was one.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy.optimize import linear_sum_assignment

from dataset_tools.demo.music.genres import GENRES
from dataset_tools.demo.music.songs import compose
from dataset_tools.demo.render.choreography import choreograph, path
from dataset_tools.demo.render.lens import Lens
from dataset_tools.demo.render.scene import Scene, render
from dataset_tools.demo.render.skeleton import DOFS
from dataset_tools.demo.train.pose.evaluation import LEAST_JOINTS, joint_errors
from dataset_tools.demo.train.training_frames import HELD_OUT_SEED
from dataset_tools.lib.core import cli
from dataset_tools.lib.core.atomic import check_writable, write_text
from dataset_tools.lib.core.errors import UserError
from dataset_tools.lib.core.layout import Layout
from dataset_tools.lib.core.schema import Row, read_records
from dataset_tools.lib.core.timebase import FPS

WITHIN = 0.1  # of the dancer's height
SAME = 0.5  # share of a dancer's joints within that, for a slot to be that dancer
CROSSING_SECONDS, CROSSING_SIZE = 10, (360, 360)
HELD_OUT_CROSSINGS = 100


@dataclass(frozen=True, kw_only=True)
class ClipGeometry(Row):
    """What this needs of a row of clips/rows.csv."""

    width: int | None = None
    height: int | None = None
    crop_x: int | None = None
    crop_y: int | None = None
    crop_w: int | None = None
    crop_h: int | None = None


@dataclass(frozen=True, kw_only=True)
class Measured:
    """One clip."""

    clip: str
    frames: int
    dancers: int
    found: int
    """Dancers that have a slot."""
    primary: int
    """The true primary dancer by the tracker's rule; the renderer calls dancer 0 so."""
    right: int
    visible: int
    """Visible joints of the primary dancer, and how many of them slot 0 has within a tenth of the height."""
    switches: int


def measure(clip: str, pose: np.ndarray, truth: np.ndarray, size: tuple[int, int]) -> Measured:
    """Compare (T, P, 17, 3) x px, y px, confidence with the true (T, N, 17, 3) x px, y px, visibility 0, 1 or 2, both
    in px of a picture of `size` (width, height)."""
    primary = _primary(truth, size)
    right = visible = 0
    for found, people in zip(pose, truth, strict=True):
        asked = people[primary, :, 2] == 2
        right += int((joint_errors(found[0], people[primary])[asked] < WITHIN).sum())
        visible += int(asked.sum())
    seen = (pose[..., 2] > 0).any(axis=(0, 2))
    return Measured(
        clip=clip, frames=len(pose), dancers=truth.shape[1], found=int(seen.sum()), primary=primary, right=right,
        visible=visible, switches=switches(pose, truth),
    )  # fmt: skip


def switches(pose: np.ndarray, truth: np.ndarray) -> int:
    """Identity switches of a clip; arrays as in `measure`."""
    count, slot_of = 0, {}
    for found, people in zip(pose, truth, strict=True):
        near = np.zeros((len(people), len(found)))
        for n, person in enumerate(people):
            asked = person[:, 2] > 0
            if asked.sum() >= LEAST_JOINTS:
                near[n] = [(joint_errors(slot, person)[asked] < WITHIN).mean() for slot in found]
        held = np.array([[slot_of.get(n) == slot for slot in range(len(found))] for n in range(len(people))])
        near[near < SAME] = 0
        for n, slot in zip(*linear_sum_assignment(-(near + len(people) * (held & (near > 0))))):
            if near[n, slot] > 0:
                count += slot_of.get(n, slot) != slot
                slot_of[n] = slot
    return count


def _primary(truth: np.ndarray, size: tuple[int, int]) -> int:
    """Which of the true dancers the tracker's rule makes the primary one."""
    from dataset_tools.pose.tracking import Track, rank_dancers

    dancers = {}
    for n in range(truth.shape[1]):
        dancer = Track()
        for frame, person in enumerate(truth[:, n]):
            if (person[:, 2] > 0).sum() >= LEAST_JOINTS:
                dancer.add(frame, person)
        if dancer.frames:
            dancers[id(dancer)] = (n, dancer)
    order = rank_dancers([dancer for _, dancer in dancers.values()], *size)
    return dancers[id(order[0])][0]


def corpus_clips(layout: Layout) -> list[Measured]:
    """Every clip of a rendered corpus that the stage pose finished."""
    out = []
    for clip in read_records(layout.stage("clips") / "rows.csv", ClipGeometry):
        truth_file, found = (
            layout.stage("sources") / "truth" / f"{clip.id}.npz",
            layout.stage("pose") / f"{clip.id}.npy",
        )
        if clip.status != "ok" or not found.exists():
            continue
        if not truth_file.exists():
            raise UserError(f"{truth_file}: file not found; only a rendered corpus can be measured")
        truth = np.load(truth_file, allow_pickle=False)["keypoints"].astype(float)
        scale = np.array([clip.width / clip.crop_w, clip.height / clip.crop_h])
        truth[..., :2] = (truth[..., :2] - (clip.crop_x, clip.crop_y) + 0.5) * scale - 0.5
        pose = np.load(found, allow_pickle=False)
        if pose.shape[2] != truth.shape[2]:
            raise UserError(f"{found}: {pose.shape[2]} joints; measure with pose.layout coco17")
        out.append(measure(clip.id, pose, truth, (clip.width, clip.height)))
    if not out:
        raise UserError(f"{layout.stage('pose')}: no posed clips; run `dvc repro pose` first")
    return out


def crossing_clip(number: int) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Frames of clip `number`, (H, W, 3) uint8 RGB, and their keypoints (N, 17, 3): held-out dancers change places.

    Every dancer goes where another one stood, within 1 to 2 s, and after a while to a third place or back.
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
        angles[:, n, DOFS.index("x")] += (path(when, stops, times, 1.0) - places[n]) / dancer.scale
    for row, seconds in zip(angles, times, strict=True):
        image, keypoints = render(scene, row, seconds)
        yield lens.expose(rng, image), keypoints


def crossing_clips(layout: Layout, count: int, first: int) -> Iterator[Measured]:
    """Render, pose with the demo's weights and measure `count` crossing clips from number `first` on."""
    from dataset_tools.lib.core.weights import locate
    from dataset_tools.pose.estimator import PoseEstimator
    from dataset_tools.pose.tracking import track

    estimator = PoseEstimator(locate("pose_demo", layout))
    for number in range(first, first + count):
        truth = []
        pose = track(estimator.find_people(estimator.start(_watched(crossing_clip(number), truth))), *CROSSING_SIZE)
        yield measure(f"crossing{number:02d}", pose, np.array(truth), CROSSING_SIZE)


def _watched(pairs: Iterator[tuple[np.ndarray, np.ndarray]], truth: list[np.ndarray]) -> Iterator[np.ndarray]:
    for image, keypoints in pairs:
        truth.append(keypoints)
        yield image


def summary(clips: list[Measured]) -> dict:
    """Totals: PCK@0.1 of the primary dancer (0..1) and identity switches a minute of clips with several dancers."""
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
    """The command line; the exit status."""
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
    clips = list(crossing_clips(layout, args.crossing, args.first)) if args.crossing else corpus_clips(layout)
    print("clip         dancers found primary  PCK@0.1 switches")
    for c in clips:
        row = f"{c.clip:12s} {c.dancers:7d} {c.found:5d} {c.primary:7d} {c.right / max(1, c.visible):8.3f} {c.switches:8d}"
        print(row)
    total = summary(clips)
    print("\n".join(f"{name}: {value}" for name, value in total.items()))
    if args.json:
        write_text(args.json, json.dumps({"summary": total, "clips": [vars(c) for c in clips]}, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    cli.run(main)
