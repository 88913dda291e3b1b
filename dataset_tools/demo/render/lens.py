"""Simulate lens, sensor and codec: blur, colour cast, contrast, gamma, grain, JPEG blocks."""

from dataclasses import dataclass

import cv2
import numpy as np


@dataclass(frozen=True)
class Lens:
    """One camera. It is constant during a clip; only its grain changes from frame to frame."""

    blur: float = 0.0  # standard deviation, px
    streak: np.ndarray | None = None  # motion blur kernel (k, k)
    levels: np.ndarray | None = None  # look-up table (1, 256, 3) uint8
    grain: float = 0.0  # standard deviation, grey levels
    jpeg_quality: int | None = None

    @staticmethod
    def random(rng: np.random.Generator, strong: bool = False) -> "Lens":
        """A random phone camera as in the corpus; with `strong`, for training, any camera from good to very bad."""
        u, chance = rng.uniform, lambda p: rng.random() < p
        blur = u(0.3, 1.3 if strong else 0.6) if chance(0.45 if strong else 0.3) else 0.0
        streak = _streak(rng) if strong and chance(0.12) else None
        contrast, bright, cast = ((0.6, 1.3), 40, 0.15) if strong else ((0.95, 1.05), 4, 0.02)
        gain = u(*contrast) * u(1 - cast, 1 + cast, 3)
        levels = np.clip(np.arange(256)[:, None] * gain + 128 + u(-bright, bright) - 128 * gain, 0, 255)
        if strong and chance(0.4):
            levels = 255 * (levels / 255) ** u(0.7, 1.5)
        grain = u(*((1, 9) if strong else (0.5, 2))) if chance(0.5) else 0.0
        quality = int(rng.integers(35, 90)) if strong and chance(0.3) else None
        return Lens(blur, streak, levels.astype(np.uint8)[None], grain, quality)

    def expose(self, rng: np.random.Generator, image: np.ndarray) -> np.ndarray:
        """The image (H, W, 3) uint8 RGB as this camera records it. `rng` is used only for the grain."""
        if self.blur:
            image = cv2.GaussianBlur(image, (0, 0), self.blur)
        if self.streak is not None:
            image = cv2.filter2D(image, -1, self.streak)
        if self.levels is not None:
            image = cv2.LUT(image, self.levels)
        if self.grain:
            grain = rng.standard_normal(image.shape[:2], dtype=np.float32) * np.float32(self.grain)
            grainy = image + grain[..., None]
            image = np.clip(grainy, 0, 255, out=grainy).astype(np.uint8)
        if self.jpeg_quality is not None:
            _, coded = cv2.imencode(".jpg", image[..., ::-1], [cv2.IMWRITE_JPEG_QUALITY, self.jpeg_quality])
            image = np.ascontiguousarray(cv2.imdecode(coded, cv2.IMREAD_COLOR)[..., ::-1])
        return image


def _streak(rng: np.random.Generator) -> np.ndarray:
    """Motion blur kernel of a shaken camera: a random line whose values add up to one."""
    size = int(rng.integers(3, 7))
    path = np.zeros((size, size), np.float32)
    start, end = rng.integers(0, size, (2, 2)).tolist()
    cv2.line(path, start, end, 1.0)
    return path / path.sum()
