"""Render frames to disk and make endless training batches of them: cropped, rotated, mirrored, recoloured."""

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import cv2
import numpy as np
import torch
from openpifpaf import encoder, headmeta
from openpifpaf.plugins.coco import constants as coco
from torch import Tensor

from dataset_tools.demo.train.pose.targets import CafEncoder
from dataset_tools.lib.parallel.workers import run_all

FRAME = 257
MAX_PEOPLE = 6
CHUNK = 100
CROPS = ((193, (0.55, 1.0), 0.75), (257, (0.8, 1.25), 0.25))  # side px, range of zooms, fraction of the batches
MIRROR = [coco.COCO_KEYPOINTS.index(coco.HFLIP.get(name, name)) for name in coco.COCO_KEYPOINTS]
MEAN = np.array([0.485, 0.456, 0.406], np.float32)  # of ImageNet, as OpenPifPaf normalises
STD = np.array([0.229, 0.224, 0.225], np.float32)


@dataclass(frozen=True)
class Pool:
    """Rendered frames: images uint8 (N, 257, 257, 3) RGB, people float32 (N, 6, 17, 3) x px, y px, visibility."""

    images: "np.ndarray | _ChunkedImages"
    people: np.ndarray


def render_pool(folder: Path, frames: int, seed: int, workers: int = 2) -> Pool:
    """Render `frames` frames (rounded up to hundreds) into `folder`. Frame i depends only on `seed` and i."""
    folder.mkdir(parents=True, exist_ok=True)
    jobs = [(folder, chunk, seed) for chunk in range(-(-frames // CHUNK))]
    run_all(_render_chunk, jobs, workers, "render frames", unit="part")
    images = [np.load(folder / f"images-{chunk:05d}.npy", mmap_mode="r") for _, chunk, _ in jobs]
    people = np.concatenate([np.load(folder / f"people-{chunk:05d}.npy") for _, chunk, _ in jobs])
    return Pool(images=_ChunkedImages(images), people=people)


class _ChunkedImages:
    """Memory-mapped chunks with one index, so that the pool need not fit into memory."""

    def __init__(self, chunks):
        self.chunks = chunks

    def __len__(self):
        return sum(len(chunk) for chunk in self.chunks)

    def __getitem__(self, i: int) -> np.ndarray:
        return np.asarray(self.chunks[i // CHUNK][i % CHUNK])


def _render_chunk(job: tuple[Path, int, int]) -> None:
    folder, chunk, seed = job
    images = np.zeros((CHUNK, FRAME, FRAME, 3), np.uint8)
    people = np.zeros((CHUNK, MAX_PEOPLE, 17, 3), np.float32)
    for i in range(CHUNK):
        images[i], found = render_frame(seed, chunk * CHUNK + i)
        for slot, keypoints in enumerate(found[:MAX_PEOPLE]):
            people[i, slot] = keypoints
    np.save(folder / f"images-{chunk:05d}.npy", images)
    np.save(folder / f"people-{chunk:05d}.npy", people)


def render_frame(seed: int, index: int) -> tuple[np.ndarray, list[np.ndarray]]:
    """Frame `index` of an endless seeded series: (RGB uint8 (257, 257, 3), keypoints (17, 3) of each dancer)."""
    from dataset_tools.demo.train.training_frames import random_frame

    cv2.setNumThreads(1)
    return random_frame(np.random.default_rng([seed, index]), FRAME)


def augment(rng, image, people, side, zooms):
    """A random crop of side x side px, zoomed, rotated by a few degrees, mirrored and recoloured.

    people: (P, 17, 3). Returns (image, list of (17, 3) with at least one joint in the crop); joints outside have visibility 0.
    """
    height, width = image.shape[:2]
    zoom, angle = rng.uniform(*zooms), np.deg2rad(rng.normal(0, 4))
    flip = rng.random() < 0.5
    turn = zoom * np.array([[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]])
    if flip:
        turn = turn @ np.diag([-1.0, 1.0])
    slack = max(abs(zoom * height - side) / 2, 4)
    centre, source_centre = np.full(2, (side - 1) / 2), np.array([(width - 1) / 2, (height - 1) / 2])
    shift = centre - turn @ source_centre + slack * rng.uniform(-1, 1, 2)
    if zoom < 0.75:  # against aliasing
        image = cv2.GaussianBlur(image, (3, 3), 0.55)
    border = tuple(float(v) for v in rng.integers(0, 256, 3))
    matrix = np.concatenate([turn, shift[:, None]], 1)
    image = cv2.warpAffine(image, matrix, (side, side), flags=cv2.INTER_LINEAR, borderValue=border)

    levels = (np.arange(256, dtype=np.float32)[:, None] / 255) ** rng.uniform(0.75, 1.3)
    levels = 255 * levels * rng.uniform(0.75, 1.25, 3).astype(np.float32) + rng.uniform(-20, 20)
    image = cv2.LUT(image, np.clip(levels, 0, 255).astype(np.uint8)[None])

    kept = []
    for person in people.astype(np.float64):
        xy, visibility = person[:, :2] @ turn.T + shift, person[:, 2]
        if flip:
            xy, visibility = xy[MIRROR], visibility[MIRROR]
        inside = (visibility > 0) & (xy >= 0).all(1) & (xy <= side - 1).all(1)
        if inside.any():
            kept.append(np.where(inside[:, None], np.column_stack([xy, visibility]), 0.0))
    return image, kept


class Batches(torch.utils.data.Dataset):
    """Item i = batch i: (images (B, 3, S, S) normalised, [CIF target, CAF target]); S varies by batch."""

    def __init__(self, pool: Pool, metas: list[headmeta.Base], batch: int, seed: int):
        self.pool, self.batch, self.seed = pool, batch, seed
        self.encoders = [encoder.Cif(metas[0]), CafEncoder(metas[1])]

    def __len__(self):
        return 2**31

    def __getitem__(self, i: int) -> tuple[Tensor, list[Tensor]]:
        cv2.setNumThreads(1)
        rng = np.random.default_rng([self.seed, i])
        side, zooms, _ = CROPS[rng.choice(len(CROPS), p=[share for _, _, share in CROPS])]
        images, targets = [], [[] for _ in self.encoders]
        for k in rng.integers(0, len(self.pool.people), self.batch):
            image, people = augment(rng, self.pool.images[k], self.pool.people[k], side, zooms)
            image = torch.from_numpy(((image.astype(np.float32) / 255 - MEAN) / STD).transpose(2, 0, 1).copy())
            images.append(image)
            for target, encode in zip(targets, self.encoders):
                target.append(encode(image, [to_annotation(p) for p in people], {}))
        return torch.stack(images), [torch.stack(t) for t in targets]


def to_annotation(keypoints: np.ndarray) -> dict:
    """Keypoints (17, 3) in the form that OpenPifPaf's encoders take."""
    seen = keypoints[keypoints[:, 2] > 0, :2]
    low = seen.min(0)
    return {"keypoints": keypoints, "bbox": np.array([*low, *(seen.max(0) - low)]), "iscrowd": False}


def repeat_relit(batches: Iterator, seed: int, memory: int = 48) -> Iterator[tuple[Tensor, list[Tensor]]]:
    """Yield every batch twice, the second time some dozens of steps later and with other lighting. Encoding costs as much as half a
    training step, and a relit repetition teaches almost as much as a new batch."""
    rng = torch.Generator().manual_seed(seed)
    waiting = []
    for images, targets in batches:
        yield images, targets
        waiting.append((images, targets))
        if len(waiting) >= memory:
            chosen = int(torch.randint(len(waiting), (), generator=rng))
            images, targets = waiting.pop(chosen)
            size = len(images)
            contrast = 1 + 0.25 * (torch.rand(size, 3, 1, 1, generator=rng) - 0.5)
            contrast += 0.5 * (torch.rand(size, 1, 1, 1, generator=rng) - 0.5)
            light = 1.2 * (torch.rand(size, 1, 1, 1, generator=rng) - 0.5)
            grain = 0.08 * torch.rand(size, 1, 1, 1, generator=rng) * torch.randn(images[:, :1].shape, generator=rng)
            yield images * contrast + light + grain, targets
