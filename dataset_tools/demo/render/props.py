"""Draw the surroundings of the dancers: the room behind them and objects in front of them."""

from dataclasses import dataclass

import cv2
import numpy as np

from dataset_tools.demo.render import figure
from dataset_tools.demo.render.figure import colour

OCCLUDERS = ("pillar", "table", "caption", "sticker")


@dataclass(frozen=True)
class Occluder:
    """Something in front: picture (h, w, 3) and mask (h, w) bool with its top left corner at px (x, y)."""

    x: int
    y: int
    picture: np.ndarray
    mask: np.ndarray


def paint_background(rng: np.random.Generator, width: int, height: int, busy: float = 1.0) -> np.ndarray:
    """A wall and maybe a floor with texture and clutter, some of it shaped like limbs: (height, width, 3) uint8 RGB.

    `busy` 0..1 scales the texture's contrast and the number of things.
    """
    t = np.linspace(0, 1, height)[:, None, None] if rng.random() < 0.5 else np.linspace(0, 1, width)[None, :, None]
    wall = (colour(rng) * (1 - t) + colour(rng) * t).astype(np.float32)
    strength = rng.uniform(3, 3 + 42 * busy)
    channels = 3 if rng.random() < 0.4 else 1
    texture = np.zeros((height, width, channels), np.float32)
    for cell in (4, 12, 40):
        if rng.random() < 0.7:
            grid = rng.standard_normal((height // cell + 2, width // cell + 2, channels), dtype=np.float32)
            grid *= np.float32(strength * rng.uniform(0.2, 1))
            texture += cv2.resize(grid, (width, height), interpolation=cv2.INTER_CUBIC).reshape(texture.shape)
    image = wall + texture
    if rng.random() < 0.6:
        y = int(height * rng.uniform(0.55, 0.92))
        image[y:] = image[y:] * rng.uniform(0.2, 0.9) + (colour(rng) * rng.uniform(0.2, 0.8)).astype(np.float32)
        if rng.random() < 0.4:  # skirting board
            image[y - 3 : y] = colour(rng)
    if rng.random() < 0.2:  # tiles, curtain or planks
        step, shade = int(rng.integers(14, 50)), rng.uniform(0.75, 1.2)
        image[:, ::step] *= shade
        if rng.random() < 0.5:
            image[::step] *= shade
    image = np.clip(image, 0, 255, out=image).astype(np.uint8)
    size = np.array([width, height])
    for _ in range(rng.integers(0, 3 + round(6 * busy))):
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
            bar = figure.layer_outlines(a[None], b[None], r[:1], r[1:], rng.normal(0, 0.5, 2))
            figure.draw_capsule(image, None, 0, bar[:, 0], tint, True)
    return image


def paint_occluder(rng: np.random.Generator, width: int, height: int, kind: str,
                   target: tuple[np.ndarray, float] | None) -> Occluder:  # fmt: skip
    """Something of OCCLUDERS, covering a part of `target`: a dancer's floor point (2,) px and height px; None: anywhere."""
    (x, y), tall = target or (rng.uniform(0.2, 0.9, 2) * (width, height), 0.6 * height)
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
        left, top, r = (
            x + rng.uniform(-0.35, 0.25) * tall,
            y - rng.uniform(0.1, 1.0) * tall,
            rng.uniform(0.08, 0.18) * tall,
        )
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
        first, last = rng.uniform(0.7, 1.25, 2)
        shade = np.linspace(first, last, w)[None, :, None]
        picture = np.clip(picture * shade, 0, 255).astype(np.uint8)
        cv2.rectangle(picture, (0, 0), (w - 1, h - 1), (colour(rng) * 0.5).tolist(), 1)
    return Occluder(x0, y0, picture, mask)
