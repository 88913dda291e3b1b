"""Render frames for training and testing the pose model, with the corpus's renderer, other seeds and more difficult scenes."""

from collections.abc import Iterator
from functools import lru_cache

import numpy as np

from dataset_tools.demo.music.genres import GENRES
from dataset_tools.demo.music.songs import compose
from dataset_tools.demo.render.choreography import choreograph
from dataset_tools.demo.render.lens import Lens
from dataset_tools.demo.render.props import OCCLUDERS
from dataset_tools.demo.render.scene import FRAMINGS, Scene, render
from dataset_tools.demo.render.skeleton import DOFS, clip_angles

# A random motion is a base plus two sinusoids: lowest and highest base, largest amplitude.
_MOTION = {
    "yaw": (-45, 45, 30),
    "roll": (-6, 6, 14),
    "pitch": (-4, 12, 14),
    "hyaw": (-15, 15, 25),
    "hpitch": (-8, 8, 12),
    "hroll": (-5, 5, 12),
    "sway": (0, 0, 8),
    "jump": (-0.05, 0.0, 0.10),
    "x": (0, 0, 0),  # the scene varies the dancers' places
} | {
    side + name: motion
    for side in "lr"
    for name, motion in {
        "ab": (5, 120, 60),
        "fl": (-10, 45, 45),
        "el": (5, 90, 55),
        "tw": (-90, 90, 60),
        "hab": (2, 22, 25),
        "hfl": (-8, 25, 35),
        "kn": (0, 35, 45),
    }.items()
}
_LOW, _HIGH, _AMPLITUDE = np.array([_MOTION[name] for name in DOFS], dtype=float).T
FULL_TURN_SHARE = (
    0.6  # fraction of frames whose dancers face any direction: without them, a model fails on people seen from behind
)
CHOREOGRAPHED_SHARE = 0.5

# First seeds of songs and routines. The corpus's seeds are below them, so that the model is not trained on dances of the corpus and not
# tested on dances it was trained on.
TRAINING_SEED, HELD_OUT_SEED = 1_000_000, 2_000_000
SONGS, HELD_OUT_SONGS, SONG_SECONDS, POSES_PER_SECOND = 60, 20, 40.0, 6.0


@lru_cache(maxsize=2)
def render_routines(first_seed: int, songs: int) -> np.ndarray:
    """Angles (songs, 3 dancers, T, D) of `songs` routines in all genres, at POSES_PER_SECOND. The dancers of a song dance the same
    routine."""
    genres = sorted(GENRES)
    scores = [compose(first_seed + k, genres[k % len(genres)], seconds=SONG_SECONDS) for k in range(songs)]
    return np.array([
        [choreograph(score, 0.0, SONG_SECONDS, seed=score.seed + 1000 * dancer, move_seed=score.seed, fps=POSES_PER_SECOND)
         for dancer in range(3)]
        for score in scores
    ])  # fmt: skip


def _draw_poses(rng: np.random.Generator, pool: np.ndarray, dancers: int) -> np.ndarray:
    """Poses (dancers, D) at a random time of a random routine of a `render_routines` pool."""
    song, instant = rng.integers(pool.shape[0]), rng.integers(pool.shape[2])
    return pool[song, :dancers, instant].astype(float)


def random_motion(rng: np.random.Generator, seconds: np.ndarray) -> np.ndarray:
    """Angles (T, D) at `seconds` (T,) of a smooth random dance within DOF_RANGES, roughly facing the camera."""
    base = rng.uniform(_LOW, _HIGH)
    rate = rng.choice([0.5, 1.0, 2.0], (2, len(DOFS)))
    phase = rng.uniform(0, 2 * np.pi, (2, len(DOFS)))
    amplitude = _AMPLITUDE * rng.uniform(0.3, 1.0) * rng.uniform(0.1, 1.0, (2, len(DOFS))) * ((1.0,), (0.5,))
    if rng.random() < 0.35:  # arms in parallel or in counter-movement, as dancers do
        counter = np.pi * rng.integers(0, 2)
        for name in ("ab", "fl", "el", "tw"):
            left, right = DOFS.index("l" + name), DOFS.index("r" + name)
            base[right], rate[:, right] = base[left], rate[:, left]
            phase[:, right], amplitude[:, right] = phase[:, left] + counter, amplitude[:, left]
    time = np.asarray(seconds, dtype=float)[:, None, None]
    angles = base + (amplitude * np.sin(2 * np.pi * rate * time + phase)).sum(axis=1)
    return clip_angles(angles)


def random_frame(rng: np.random.Generator, size: int | tuple[int, int]) -> tuple[np.ndarray, list[np.ndarray]]:
    """One training frame: (image (H, W, 3) uint8 RGB, keypoints (17, 3) of its 0..3 dancers as from `scene.render`).

    size: side of a square, or (width, height), in px.
    """
    width, height = (size, size) if isinstance(size, int) else size
    count = int(rng.choice(4, p=[0.04, 0.42, 0.34, 0.20]))
    tallest = (0.93, 0.93, 0.86, 0.75)[count] * min(1.0, 1.6 * width / height)
    scene = Scene.random(
        rng, width, height, count,
        standing=(0.30, tallest),
        framing=str(rng.choice(FRAMINGS, p=[0.82, 0.08, 0.05, 0.05])),
        occluder=str(rng.choice(OCCLUDERS)) if rng.random() < 0.25 else None,
        busy=rng.uniform(0.1, 1.0),
    )  # fmt: skip
    if rng.random() < CHOREOGRAPHED_SHARE:
        angles = _draw_poses(rng, render_routines(TRAINING_SEED, SONGS), count)
    else:
        angles = np.array([random_motion(rng, np.zeros(1))[0] for _ in range(count)]).reshape(count, len(DOFS))
    if rng.random() < FULL_TURN_SHARE:
        angles[:, DOFS.index("yaw")] += rng.uniform(0, 360, count)
    image, keypoints = render(scene, angles)
    return Lens.random(rng, strong=True).expose(rng, image), list(keypoints)


def dance_frames(
    count: int, seed: int = 0, size: tuple[int, int] = (270, 360)
) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Yield `count` held-out frames like those of the corpus: (image (H, W, 3), keypoints (N, 17, 3)), N from 1 to 3.

    Routines, bodies, clothes and rooms differ from those of the training frames and of the corpus.
    """
    width, height = size
    for k in range(count):
        rng = np.random.default_rng([HELD_OUT_SEED, seed, k])
        dancers = int(rng.choice([1, 2, 3], p=[0.6, 0.25, 0.15]))
        scene = Scene.random(
            rng, width, height, dancers,
            framing=str(rng.choice(FRAMINGS, p=[0.85, 0.06, 0.05, 0.04])),
            occluder=str(rng.choice(OCCLUDERS)) if rng.random() < 0.15 else None,
        )  # fmt: skip
        image, keypoints = render(scene, _draw_poses(rng, render_routines(HELD_OUT_SEED, HELD_OUT_SONGS), dancers))
        yield Lens.random(rng).expose(rng, image), keypoints
