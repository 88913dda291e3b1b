"""Frames of the corpus's own clips through decord. For foreign footage, use `video_io`."""

from collections.abc import Iterator
from pathlib import Path

import numpy as np

from dataset_tools.lib.core.errors import UserError

BATCH_FRAMES = 32  # frames decoded at once


def read_clip(video: Path, frames: int | None) -> Iterator[np.ndarray]:
    """Frames uint8 (H, W, 3) RGB of a clip, in order.

    Raises UserError unless the file decodes to exactly `frames` of them (None: to as many as its header says). decord
    trusts that header, and a file that holds less than it claims makes it wait forever; comparing first prevents that.
    """
    import decord

    name = Path(video).name
    try:
        # One thread and no idle reader: a decord reader left alone goes on decoding into memory.
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
