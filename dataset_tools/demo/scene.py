"""A filmed room: textured background, tilted camera, one to three dancers, things in front of them, poor lenses.

`python -m dataset_tools.demo.scene --sheet sheet.png` writes a contact sheet of random training frames.
"""

import argparse
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np

from dataset_tools.base.atomic import write_aside
from dataset_tools.base.cli import run
from dataset_tools.demo import figure
from dataset_tools.demo.figure import Look, colour
from dataset_tools.demo.skeleton import Body, forward, rotation

cv2.setNumThreads(1)  # pictures are small: threads cost more than they give, and the corpus is rendered in processes

COVER = 255  # part id of whatever stands in front of the dancers
PAN_MARGIN = 12  # px of background beyond each edge of the picture
OCCLUDERS = ("pillar", "table", "caption", "sticker")
FRAMINGS = ("full", "legs_out", "side_out", "head_out")


@dataclass(frozen=True)
class Dancer:
    """One dancer of a scene. `place` (2,) px is the floor point at x = z = 0; `scale` is px per body height."""

    body: Body
    look: Look
    place: np.ndarray
    scale: float


@dataclass(frozen=True)
class Occluder:
    """Something in front: picture (h, w, 3) and mask (h, w) bool with its top left corner at px (x, y)."""

    x: int
    y: int
    picture: np.ndarray
    mask: np.ndarray


@dataclass(frozen=True)
class Scene:
    """All that stays the same during a clip. `dancers[0]` is the primary one; they are painted back to front."""

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
               moving: bool = False) -> "Scene":  # fmt: skip
        """A room of width x height px with 0..3 dancers who stand `standing` of the frame's height tall.

        `framing` is one of FRAMINGS: it puts the primary dancer's feet below the frame, one side beyond an edge, or the
        head above. `occluder` is one of OCCLUDERS. `moving` adds a slow pan and a slow drift of brightness.
        """
        background = paint_background(rng, width + 2 * PAN_MARGIN, height + 2 * PAN_MARGIN)
        camera = rotation("x", rng.uniform(-3, 12))
        placed = _place(rng, width, height, dancers, standing, framing)
        covers = (paint_occluder(rng, width, height, occluder, placed[0] if placed else None),) if occluder else ()
        wave = lambda amplitude: (amplitude, rng.uniform(5, 12), rng.uniform(0, 2 * np.pi))  # noqa: E731
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
    corner = PAN_MARGIN + round(shift)
    image = scene.background[PAN_MARGIN : PAN_MARGIN + scene.height, corner : corner + scene.width].copy()
    parts = np.zeros((scene.height, scene.width), np.uint8)
    moved = np.array([-round(shift), 0.0])

    keypoints = np.zeros((len(scene.dancers), 17, 3))
    postures = [forward(dancer.body, row) for dancer, row in zip(scene.dancers, angles)]
    for dancer, posture in zip(scene.dancers, postures):
        _shadow(image, posture.joints @ scene.camera.T, dancer.place + moved, dancer.scale)
    first = lambda n: 1 + n * len(figure.PARTS)  # noqa: E731
    for n in sorted(range(len(scene.dancers)), key=lambda n: scene.dancers[n].place[1]):
        dancer = scene.dancers[n]
        keypoints[n] = figure.draw(image, parts, first(n), dancer.body, dancer.look, postures[n], scene.camera,
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


def degrade(rng: np.random.Generator, image: np.ndarray, strength: str = "mild") -> np.ndarray:
    """What lens, sensor and codec do to an image (H, W, 3) uint8: "mild" as in the corpus, "strong" for training."""
    strong = strength == "strong"
    if rng.random() < (0.45 if strong else 0.3):
        image = cv2.GaussianBlur(image, (0, 0), rng.uniform(0.3, 1.3 if strong else 0.6))
    if strong and rng.random() < 0.12:
        size = int(rng.integers(3, 7))
        streak = np.zeros((size, size), np.float32)
        a, b = rng.integers(0, size, (2, 2)).tolist()
        cv2.line(streak, a, b, 1.0)
        image = cv2.filter2D(image, -1, streak / streak.sum())
    contrast, bright, tint, sigma = ((0.6, 1.3), 40, 0.15, (1, 9)) if strong else ((0.95, 1.05), 4, 0.02, (0.5, 2))
    gain = (rng.uniform(*contrast) * rng.uniform(1 - tint, 1 + tint, 3)).astype(np.float32)
    offset = np.float32(128 + rng.uniform(-bright, bright)) - 128 * gain
    levels = np.arange(256, dtype=np.float32)[:, None] * gain + offset
    if strong and rng.random() < 0.4:
        levels = 255 * (np.clip(levels, 0, 255) / 255) ** rng.uniform(0.7, 1.5)
    image = cv2.LUT(image, np.clip(levels, 0, 255).astype(np.uint8).reshape(1, 256, 3))
    if rng.random() < 0.5:
        grain = rng.standard_normal(image.shape[:2], dtype=np.float32) * np.float32(rng.uniform(*sigma))
        image = np.clip(image + grain[..., None], 0, 255).astype(np.uint8)
    if strong and rng.random() < 0.3:
        quality = [cv2.IMWRITE_JPEG_QUALITY, int(rng.integers(35, 90))]
        image = cv2.imdecode(cv2.imencode(".jpg", image, quality)[1], cv2.IMREAD_COLOR)  # channel order does not matter
    return image


def _wave(wave: tuple[float, float, float], seconds: float) -> float:
    amplitude, period, phase = wave
    return float(amplitude * np.sin(2 * np.pi * seconds / period + phase))


def _place(rng, width, height, count, standing, framing) -> tuple[Dancer, ...]:
    """Dancers side by side, the primary one foremost (lowest in the picture) and nearest to the middle."""
    columns = (np.arange(count) + 0.5) / max(count, 1)
    columns = columns[np.argsort(np.abs(columns - 0.5), kind="stable")]
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
        dancers.append(Dancer(body, Look.random(rng), np.array([x, y]), float(size * height / body.height)))
    return tuple(dancers)


def _shadow(image, view, place, scale) -> None:
    """Darken the floor under the feet."""
    feet = np.asarray(place) + view[19:21, :2] * (scale, -scale)
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


def paint_background(rng: np.random.Generator, width: int, height: int) -> np.ndarray:
    """A wall and maybe a floor with texture and clutter, some of it shaped like limbs: (height, width, 3) uint8 RGB."""
    t = np.linspace(0, 1, height)[:, None, None] if rng.random() < 0.5 else np.linspace(0, 1, width)[None, :, None]
    image = (np.zeros((height, width, 1)) + colour(rng) * (1 - t) + colour(rng) * t).astype(np.float32)
    strength = rng.uniform(3, 45)
    for cell in (4, 12, 40):
        if rng.random() < 0.7:
            channels = 3 if rng.random() < 0.3 else 1
            grid = rng.standard_normal((height // cell + 2, width // cell + 2, channels), dtype=np.float32)
            blotches = cv2.resize(grid, (width, height), interpolation=cv2.INTER_CUBIC).reshape(height, width, channels)
            image += np.float32(strength * rng.uniform(0.2, 1)) * blotches
    if rng.random() < 0.6:
        y = int(height * rng.uniform(0.55, 0.92))
        image[y:] = image[y:] * rng.uniform(0.2, 0.9) + (colour(rng) * rng.uniform(0.2, 0.8)).astype(np.float32)
        if rng.random() < 0.4:  # skirting board
            image[y - 3 : y] = colour(rng)
    if rng.random() < 0.2:  # tiles, curtain or planks
        step, tint = int(rng.integers(14, 50)), rng.uniform(0.75, 1.2)
        image[:, :: step] *= tint
        if rng.random() < 0.5:
            image[::step] *= tint
    image = np.clip(image, 0, 255).astype(np.uint8)
    size = np.array([width, height])
    for _ in range(rng.integers(0, 9)):
        tint, a = colour(rng), rng.uniform(0, size)
        b = a + rng.normal(0, 0.22 * height, 2)
        kind, thick = rng.random(), -1 if rng.random() < 0.7 else 2
        p, q = np.round(a).astype(int).tolist(), np.round(b).astype(int).tolist()
        if kind < 0.35:
            cv2.rectangle(image, p, q, tint.tolist(), thick, cv2.LINE_AA)
        elif kind < 0.55:
            cv2.circle(image, p, int(rng.uniform(2, 0.13 * height)), tint.tolist(), thick, cv2.LINE_AA)
        else:
            r = rng.uniform(1.5, 0.04 * height, 2)
            bar = figure.layered(a[None], b[None], r[:1], r[1:], rng.normal(0, 0.5, 2))
            figure.shaded_capsule(image, None, 0, bar[:, 0], tint, True)
    return image


def paint_occluder(rng: np.random.Generator, width: int, height: int, kind: str, dancer: Dancer | None) -> Occluder:
    """Something of OCCLUDERS, placed to cover a part of `dancer` (anywhere for None)."""
    x, y = dancer.place if dancer else rng.uniform(0.2, 0.9, 2) * (width, height)
    tall = dancer.scale if dancer else 0.6 * height
    if kind == "pillar":
        w, left = rng.uniform(0.06, 0.14) * tall, x + rng.choice([-1, 1]) * rng.uniform(0.05, 0.3) * tall
        box = (left, -1, left + w, height + 1)
    elif kind == "table":
        w, left = rng.uniform(0.35, 0.9) * tall, x + rng.uniform(-0.5, 0.1) * tall
        box = (left, y - rng.uniform(0.12, 0.4) * tall, left + w, height + 1)
    elif kind == "caption":
        top = y - rng.uniform(0.0, 0.9) * tall
        box = (0.05 * width, top, 0.95 * width, top + rng.uniform(0.05, 0.1) * height)
    elif kind == "sticker":
        left, top, r = x + rng.uniform(-0.35, 0.25) * tall, y - rng.uniform(0.1, 1.0) * tall, rng.uniform(0.08, 0.18) * tall
        box = (left, top, left + r, top + r)
    else:
        raise ValueError(f"occluder: expected one of {OCCLUDERS}, found {kind!r}")
    x0, y0, x1, y1 = (int(v) for v in np.clip(np.round(box), 0, (width, height, width, height)))
    h, w = y1 - y0, x1 - x0
    picture = np.empty((h, w, 3), np.uint8)
    picture[:] = colour(rng)
    mask = np.ones((h, w), bool)
    if h < 4 or w < 4:
        return Occluder(x0, y0, picture, mask)
    if kind == "caption":
        ink = (255 - picture[0, 0].astype(int)).tolist()
        for left in range(3, w - 6, 7):  # pseudo-letters
            if rng.random() < 0.85:
                cv2.line(picture, (left, h // 4), (left + int(rng.integers(0, 5)), 3 * h // 4), ink, 2, cv2.LINE_AA)
    elif kind == "sticker":
        grid_y, grid_x = np.mgrid[-1 : 1 : h * 1j, -1 : 1 : w * 1j]
        mask = grid_y**2 + grid_x**2 <= 1
        cv2.circle(picture, (w // 2, h // 2), min(h, w) // 4, colour(rng).tolist(), -1, cv2.LINE_AA)
    else:  # furniture: lit from one side, with an edge
        shade = np.linspace(*rng.uniform(0.7, 1.25, 2), w)[None, :, None]
        picture = np.clip(picture * shade, 0, 255).astype(np.uint8)
        cv2.rectangle(picture, (0, 0), (w - 1, h - 1), (colour(rng) * 0.5).tolist(), 1)
    return Occluder(x0, y0, picture, mask)


def pose_overlay(image: np.ndarray, keypoints: Iterable[np.ndarray]) -> np.ndarray:
    """A copy of `image` with keypoints (N, 17, 3): left green, right red, nose yellow; rings where occluded."""
    out = image.copy()
    for k, (x, y, seen) in ((k, point) for person in keypoints for k, point in enumerate(person)):
        if seen > 0:
            tint = (255, 255, 0) if k == 0 else (0, 255, 0) if k % 2 else (255, 0, 0)
            cv2.circle(out, (round(x), round(y)), 2, tint, -1 if seen == 2 else 1)
    return out


def contact_sheet(path: Path, images: list[np.ndarray], columns: int = 6) -> None:
    """Write equally large RGB images side by side, in rows, as one picture."""
    rows = [np.hstack(images[i : i + columns]) for i in range(0, len(images) - len(images) % columns, columns)]
    with write_aside(Path(path)) as aside:
        cv2.imwrite(str(aside), np.vstack(rows)[:, :, ::-1])


def main(argv: list[str] | None = None) -> int:
    """Look at what the renderer makes."""
    from dataset_tools.demo.training_frames import random_frame  # built on this module

    parser = argparse.ArgumentParser(prog="python -m dataset_tools.demo.scene", description=__doc__)
    parser.add_argument("--sheet", type=Path, required=True, help="picture to write")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--size", type=int, default=257, help="side of each frame in px")
    parser.add_argument("--count", type=int, default=24)
    args = parser.parse_args(argv)
    rng = np.random.default_rng(args.seed)
    frames = [random_frame(rng, args.size) for _ in range(args.count)]
    images = [pose_overlay(image, people) if i % 2 else image for i, (image, people) in enumerate(frames)]
    contact_sheet(args.sheet, images)
    return 0


if __name__ == "__main__":
    run(main)
