"""Read the frames of the corpus's own clips with decord. For other videos, use `video_io`."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from dataset_tools.lib.core.errors import UserError
from dataset_tools.lib.core.packs import local_file

BATCH_FRAMES = 32  # frames decoded at once


def read_clip(video: Path, frames: int | None) -> Iterator[np.ndarray]:
    """Yield the frames of a clip, which may be in a pack, in order, uint8 (H, W, 3) RGB.

    Raises UserError if the file can't be decoded, or if its header does not give exactly `frames` frames (None: any number).
    decord trusts the header and waits for ever if a file has fewer frames; the comparison prevents that.
    """
    with local_file(video) as file:
        yield from _read(file, frames)


def _read(video: Path, frames: int | None) -> Iterator[np.ndarray]:
    import decord

    name = video.name
    try:
        # One thread, and no idle reader: decord keeps decoding into memory in the background.
        reader = decord.VideoReader(str(video), num_threads=1)
        count = len(reader)
        if frames is not None and count != frames:
            raise UserError(f"{name}: {count} frames, but clips/rows.csv says {frames}")
        for start in range(0, count, BATCH_FRAMES):
            yield from reader.get_batch(range(start, min(start + BATCH_FRAMES, count))).asnumpy()
        del reader
    except (RuntimeError, decord.DECORDError) as err:
        reason = str(err).strip().splitlines()[-1][:120] if str(err).strip() else type(err).__name__
        raise UserError(f"{name}: cannot be decoded: {reason}") from None
