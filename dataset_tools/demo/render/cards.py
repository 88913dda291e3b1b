"""Draw the still images around and between the clips of a compilation: side panels and title cards, RGB."""

import cv2
import numpy as np

from dataset_tools.demo.render.figure import colour
from dataset_tools.demo.render.props import paint_background

STYLES = ("blur", "colour", "picture", "stripes")
CAPTIONS = (
    "SUBSCRIBE|FOR MORE",
    "NEW DANCES|EVERY WEEK",
    "@DANCEDEMO",
    "WHO DID|IT BEST?",
    "LIKE +|SHARE",
    "@RENDERED.MOVES",
)
FONT = cv2.FONT_HERSHEY_DUPLEX


def side_panel(
    rng: np.random.Generator, style: str, size: tuple[int, int], side: int, inside: np.ndarray
) -> np.ndarray:
    """Panel (height, width, 3) uint8 of `size` (width, height) px in one of STYLES.

    rng: both sides need generators with the same state, so that they match.
    side: 0 left, 1 right.
    inside: first frame of the clip (H, W, 3), for the blurred style.
    """
    width, height = size
    base = colour(rng)
    if style == "blur":
        scale = height / inside.shape[0] * 2.2
        large = cv2.resize(inside, None, fx=scale, fy=scale, interpolation=cv2.INTER_LINEAR)
        y = (large.shape[0] - height) // 2
        strip = large[y : y + height, :width] if side == 0 else large[y : y + height, -width:]
        strip = cv2.resize(strip, (width, height))
        panel = (cv2.GaussianBlur(strip, (0, 0), 14) * 0.6).astype(np.uint8)
    elif style == "colour":
        panel = np.full((height, width, 3), base if side == 0 else 255 - base, np.uint8)
    elif style == "picture":
        panel = paint_background(np.random.default_rng(int(rng.integers(2**31)) + side), width, height, 0.5)
    else:
        y, x = np.mgrid[:height, :width]
        lit = ((x + (y if side == 0 else height - y)) // 24 % 2)[..., None]
        panel = np.clip(base * (0.75 + 0.35 * lit), 0, 255).astype(np.uint8)
    captions = rng.permutation(CAPTIONS)
    panel = np.ascontiguousarray(panel)
    draw_text(panel, str(captions[side]), (width // 2, int(height * (0.9 if rng.random() < 0.6 else 0.5))), 0.9 * width)
    return panel


def title_card(rng: np.random.Generator, title: str, size: tuple[int, int]) -> np.ndarray:
    """Card (height, width, 3) uint8 of `size` (width, height) px before a clip, with the song's title in the middle."""
    width, height = size
    top, bottom = colour(rng) * 0.5, colour(rng) * 0.5
    t = np.linspace(0, 1, height)[:, None, None]
    card = np.ascontiguousarray(np.broadcast_to(top * (1 - t) + bottom * t, (height, width, 3)).astype(np.uint8))
    draw_text(card, "NEXT UP", (width // 2, int(0.38 * height)), 0.2 * width)
    draw_text(card, title.upper(), (width // 2, int(0.55 * height)), 0.6 * width)
    return card


def draw_text(image: np.ndarray, text: str, centre: tuple[int, int], width: float) -> None:
    """Draw `text` ('|' breaks the line) into (H, W, 3) in white with a dark rim, at most `width` px wide."""
    lines = text.split("|")
    widest = max(cv2.getTextSize(line, FONT, 1.0, 1)[0][0] for line in lines)
    scale = min(1.2, width / widest)
    step = int(34 * scale)
    for n, line in enumerate(lines):
        w = cv2.getTextSize(line, FONT, scale, 1)[0][0]
        at = centre[0] - w // 2, centre[1] + int((n - (len(lines) - 1) / 2) * step)
        for shift in (-1, 1):
            cv2.putText(image, line, (at[0] + shift, at[1] + shift), FONT, scale, (20, 20, 20), 1, cv2.LINE_AA)
        cv2.putText(image, line, at, FONT, scale, (255, 255, 255), 1, cv2.LINE_AA)
