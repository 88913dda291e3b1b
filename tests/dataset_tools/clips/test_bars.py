"""Rendered dances among bars of every kind, coded as on the web: what is kept is the dance, and all of it."""

import functools

import cv2
import numpy as np
import pytest

from dataset_tools.clips.normalise import normalise_video
from dataset_tools.demo.render.scene import Scene, render
from dataset_tools.demo.train.training_frames import random_motion
from dataset_tools.lib.video.video_io import rgb_frames, write_clip

FRAMES, SECONDS = 36, 6.0
WEB = {"preset": "veryfast", "crf": "26", "g": "250", "x264-params": "threads=1"}


@functools.cache
def dance(width, height, seed=3, dark=False):
    """(FRAMES, height, width, 3) uint8: a rendered dancer before the camera of a phone; on a dark stage the camera stands,
    light falls on the middle alone, and goes off and on."""
    rng = np.random.default_rng(seed)
    scene = Scene.random(rng, width, height, moving=not dark, standing=(0.6, 0.8))
    times = np.arange(FRAMES) * SECONDS / FRAMES
    images = np.stack(
        [render(scene, pose, t)[0] for pose, t in zip(random_motion(rng, times)[:, None], times, strict=True)]
    )
    if dark:
        x, y = np.linspace(-1, 1, width), np.linspace(-1, 1, height)[:, None]
        light = (
            np.exp(-4 * x**2 - 2 * y**2)[None, ..., None]
            * np.where(np.arange(FRAMES) % 9 < 2, 0.5, 1.0)[:, None, None, None]
        )
        images = (images * light + 8).astype(np.uint8)
    return images


def on_black(picture, width, height):
    return between(picture, np.zeros((len(picture), height, width, 3), np.uint8))


def on_blur(picture, width, height, gain=0.8, sigma=10):
    """The picture on copies of itself that fill the frame, blurred and a little darker."""
    ground = []
    for image in picture:
        scale = max(width / image.shape[1], height / image.shape[0])
        large = cv2.resize(image, None, fx=scale, fy=scale)
        y, x = (large.shape[0] - height) // 2, (large.shape[1] - width) // 2
        ground.append(gain * cv2.GaussianBlur(large[y : y + height, x : x + width], (0, 0), sigma))
    return between(picture, np.array(ground).astype(np.uint8))


def between(picture, ground):
    top, left = (np.array(ground.shape[1:3]) - picture.shape[1:3]) // 4 * 2
    ground[:, top : top + picture.shape[1], left : left + picture.shape[2]] = picture
    return ground


WIDE, TALL = (320, 180), (180, 320)
CASES = {  # frames, the width and height of the dance inside
    "letterbox": lambda: (on_black(dance(320, 136), *WIDE), (320, 136)),
    "letterbox in a phone": lambda: (on_black(dance(180, 102), *TALL), (180, 102)),
    "pillarbox": lambda: (on_black(dance(102, 180), *WIDE), (102, 180)),
    "blurred sides": lambda: (on_blur(dance(102, 180), *WIDE), (102, 180)),
    "blurred above and below": lambda: (on_blur(dance(180, 102), *TALL), (180, 102)),
    "blurred above and below, nearly square": lambda: (on_blur(dance(180, 180), *TALL), (180, 180)),
    "letterbox and pillarbox": lambda: (on_black(on_black(dance(120, 100), 320, 100), *WIDE), (120, 100)),
    "letterbox and blurred sides": lambda: (on_black(on_blur(dance(80, 136), 320, 136), *WIDE), (80, 136)),
    "pillarbox and blurred above and below": lambda: (on_black(on_blur(dance(180, 102), *TALL), 480, 320), (180, 102)),
    "none": lambda: (dance(320, 180), WIDE),
    "none, in a phone": lambda: (dance(180, 320), TALL),
    "dark stage": lambda: (dance(320, 180, dark=True), WIDE),
    "dark stage, in a phone": lambda: (dance(180, 320, dark=True), TALL),
}


@pytest.mark.parametrize("case", CASES)
def test_what_is_kept_is_the_dance(tmp_path, case):
    frames, (width, height) = CASES[case]()
    write_clip(tmp_path / "in.mp4", rgb_frames(frames), None, fps=6, options=WEB)
    crop = normalise_video(tmp_path / "in.mp4", tmp_path / "out.mp4").crop
    left, top = (frames.shape[2] - width) // 2, (frames.shape[1] - height) // 2
    lost = np.array(
        [crop.x - left, crop.y - top, left + width - crop.x - crop.width, top + height - crop.y - crop.height]
    )
    assert (lost >= -2).all() and (lost <= 6).all(), (crop, lost)
