"""Render a room with textured background, tilted camera, up to three dancers, and objects in front of them."""

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from dataset_tools.demo.render import figure
from dataset_tools.demo.render.figure import Appearance
from dataset_tools.demo.render.props import Occluder, paint_background, paint_occluder
from dataset_tools.demo.render.skeleton import LTOE, RTOE, Body, forward, rotation
from dataset_tools.lib.core.atomic import atomic_write
from dataset_tools.lib.core.errors import UserError

cv2.setNumThreads(1)  # the images are too small for threads to pay, and the corpus is rendered in processes

COVER = 255  # part id of whatever stands in front of the dancers
PAN_MARGIN = 12  # px of background beyond each edge of the picture
FRAMINGS = ("full", "legs_out", "side_out", "head_out")


@dataclass(frozen=True)
class Dancer:
    """One dancer of a scene. `place` (2,) px is the floor point at x = z = 0; `scale` is px per body height."""

    body: Body
    look: Appearance
    place: np.ndarray
    scale: float


@dataclass(frozen=True)
class Scene:
    """The parts of a clip that do not change during it. `dancers[0]` is the primary dancer. Dancers are painted back to front."""

    width: int
    height: int
    background: np.ndarray  # (height + 2 * PAN_MARGIN, width + 2 * PAN_MARGIN, 3) uint8 RGB
    camera: np.ndarray  # (3, 3) world to view
    dancers: tuple[Dancer, ...]
    occluders: tuple[Occluder, ...] = ()
    pan: tuple[float, float, float] = (0.0, 8.0, 0.0)  # amplitude px (up to PAN_MARGIN), period s, phase rad
    drift: tuple[float, float, float] = (0.0, 8.0, 0.0)  # amplitude of brightness 0..1, period s, phase rad

    @staticmethod
    def random(rng: np.random.Generator, width: int, height: int, dancers: int = 1,
               standing: tuple[float, float] = (0.5, 0.85), framing: str = "full", occluder: str | None = None,
               moving: bool = False, busy: float = 0.35) -> "Scene":  # fmt: skip
        """A random room of width x height px with 0..3 dancers.

        standing: range of the dancers' height, as a fraction of the frame's.
        framing: one of FRAMINGS. Others than 'full' put the primary dancer's feet, head or one side outside the frame.
        occluder: one of `props.OCCLUDERS`.
        moving: adds a slow pan and a slow drift of brightness.
        busy: 0..1, strength of the background's texture and amount of clutter.
        """
        background = paint_background(rng, width + 2 * PAN_MARGIN, height + 2 * PAN_MARGIN, busy)
        camera = rotation("x", rng.uniform(-3, 12))
        placed = _place(rng, width, height, dancers, standing, framing)
        target = (placed[0].place, placed[0].scale) if placed else None
        covers = (paint_occluder(rng, width, height, occluder, target),) if occluder else ()
        wave = lambda amplitude: (amplitude, rng.uniform(5, 12), rng.uniform(0, 2 * np.pi))
        pan, drift = wave(rng.uniform(2, 8)), wave(rng.uniform(0.02, 0.10))
        still = (0.0, 8.0, 0.0)
        return Scene(width, height, background, camera, placed, covers, *((pan, drift) if moving else (still, still)))


def render(scene: Scene, angles: np.ndarray, seconds: float = 0.0) -> tuple[np.ndarray, np.ndarray]:
    """The picture at one instant: `angles` (N, D) of the N dancers as `skeleton.DOFS`, degrees and body heights.

    Returns image (height, width, 3) uint8 RGB and keypoints (N, 17, 3): x px, y px, visibility (2 seen, 1 occluded,
    0 out of frame or turned away, then x = y = 0). Pixel (i, j) has its centre at x = j, y = i.
    """
    if len(angles) != len(scene.dancers):
        raise ValueError(f"angles: expected one row per dancer ({len(scene.dancers)}), found {len(angles)}")
    shift = _wave(scene.pan, seconds)
    middle = PAN_MARGIN + shift + (scene.width - 1) / 2, PAN_MARGIN + (scene.height - 1) / 2
    image = cv2.getRectSubPix(scene.background, (scene.width, scene.height), middle)
    parts = np.zeros((scene.height, scene.width), np.uint8)
    moved = np.array([-shift, 0.0])

    keypoints = np.zeros((len(scene.dancers), 17, 3))
    postures = [forward(dancer.body, row) for dancer, row in zip(scene.dancers, angles)]
    for dancer, posture in zip(scene.dancers, postures):
        toes = posture.joints[[LTOE, RTOE]] * (1.0, 0.0, 1.0) @ scene.camera.T
        _shadow(image, dancer.place + moved + toes[:, :2] * (dancer.scale, -dancer.scale), dancer.scale)
    first = lambda n: 1 + n * len(figure.PARTS)
    for n in sorted(range(len(scene.dancers)), key=lambda n: scene.dancers[n].place[1]):
        dancer = scene.dancers[n]
        keypoints[n] = figure.draw_dancer(image, parts, first(n), dancer.body, dancer.look, postures[n], scene.camera,
                                   dancer.place + moved, dancer.scale)  # fmt: skip
    for cover in scene.occluders:
        h, w = cover.mask.shape
        area = slice(cover.y, cover.y + h), slice(cover.x, cover.x + w)
        np.copyto(image[area], cover.picture, where=cover.mask[..., None])
        parts[area][cover.mask] = COVER
    for n in range(len(scene.dancers)):
        keypoints[n] = figure.visibility(parts, first(n), keypoints[n])
    gain = 1.0 + _wave(scene.drift, seconds)
    return (image if gain == 1.0 else cv2.convertScaleAbs(image, alpha=gain)), keypoints


def _wave(wave: tuple[float, float, float], seconds: float) -> float:
    amplitude, period, phase = wave
    return float(amplitude * np.sin(2 * np.pi * seconds / period + phase))


def _place(rng: np.random.Generator, width: int, height: int, count: int, standing: tuple[float, float],
           framing: str) -> tuple[Dancer, ...]:  # fmt: skip
    """Dancers side by side, the primary one foremost (lowest in the picture) and nearest to the middle."""
    columns = (np.arange(count) + 0.5) / max(count, 1)
    columns = columns[np.argsort(np.abs(columns - 0.5), kind="stable")]
    if count > 1:  # as tall as lets each have a third of a body height of floor
        low, high = standing
        standing = low, max(low, min(high, 3 * width / height / count))
    spread = min(1.0, 0.55 * height * standing[1] * max(count - 1, 1) / width + 0.5)
    common = rng.uniform(*standing)
    floor = rng.uniform(min(max(0.80, common + 0.06), 0.97), 0.98)
    dancers = []
    for n in range(count):
        size = np.clip(common * (rng.uniform(0.94, 1.06) if n == 0 else rng.uniform(0.84, 1.0)), *standing)
        x = (0.5 + (columns[n] - 0.5) * spread) * width + rng.normal(0, 0.04) * width
        y = floor * height - n * 0.02 * height - (rng.uniform(0, 0.04) * height if n else 0)
        if n == 0 and framing == "legs_out":
            y = height * (1 + size * rng.uniform(0.1, 0.45))
        if n == 0 and framing == "head_out":
            y = height * size * rng.uniform(0.78, 0.95)
        if n == 0 and framing == "side_out":
            x = rng.choice([rng.uniform(0.0, 0.10), rng.uniform(0.90, 1.0)]) * width
        body = Body.random(rng)
        dancers.append(Dancer(body, Appearance.random(rng), np.array([x, y]), float(size * height / body.height)))
    return tuple(dancers)


def _shadow(image: np.ndarray, feet: np.ndarray, scale: float) -> None:
    """Darken the floor under two feet (2, 2) px."""
    x, y = feet.mean(axis=0)
    half = max(abs(feet[0, 0] - feet[1, 0]) / 2 + 0.10 * scale, 4.0)
    y0, y1 = int(max(0, y - 0.04 * scale)), int(min(image.shape[0], y + 0.05 * scale))
    x0, x1 = int(max(0, x - half)), int(min(image.shape[1], x + half))
    if y0 >= y1 or x0 >= x1:
        return
    across = (np.arange(x0, x1) - x) / half
    down = (np.arange(y0, y1) - y) / (0.045 * scale)
    dark = 1 - 0.45 * np.clip(1.3 * (1 - across[None] ** 2 - down[:, None] ** 2), 0, 1)
    image[y0:y1, x0:x1] = (image[y0:y1, x0:x1] * dark[..., None]).astype(np.uint8)


def pose_overlay(image: np.ndarray, keypoints: Iterable[np.ndarray]) -> np.ndarray:
    """A copy of `image` with keypoints (N, 17, 3): left green, right red, nose yellow; rings where occluded."""
    out = image.copy()
    for k, (x, y, seen) in ((k, point) for person in keypoints for k, point in enumerate(person)):
        if seen > 0:
            tint = (255, 255, 0) if k == 0 else (0, 255, 0) if k % 2 else (255, 0, 0)
            cv2.circle(out, (round(x), round(y)), 2, tint, -1 if seen == 2 else 1)
    return out


def contact_sheet(path: Path, images: list[np.ndarray], columns: int = 6) -> None:
    """Write RGB images of equal size as one image, in rows."""
    columns = min(columns, len(images))
    rows = [np.hstack(images[i : i + columns]) for i in range(0, len(images) - len(images) % columns, columns)]
    if not cv2.haveImageWriter(str(path)):
        raise UserError(f"{path}: no kind of picture that can be written; name a .png or .jpg")
    with atomic_write(Path(path)) as temporary:
        cv2.imwrite(str(temporary), np.vstack(rows)[:, :, ::-1])
