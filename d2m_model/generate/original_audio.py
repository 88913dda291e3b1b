"""The video's original audio, mixed under the music."""

from pathlib import Path

import numpy as np

from d2m_model.generate.finish import SILENCE, normalise
from d2m_model.generate.params import Params
from dataset_tools.lib.audio.mono import to_mono
from dataset_tools.lib.core.errors import UserError
from dataset_tools.lib.video.video_io import read_audio


def mixed(
    music: np.ndarray, rate: int, video: Path, begin: float, gain: float, params: Params
) -> tuple[np.ndarray, str]:
    """(music (N,) or (C, N) with the original audio under it, brought to the loudness of `params`; a remark for the user).

    The music must have the loudness of `params` already. begin: when the music begins, in seconds of the video's clock. gain: factor
    of the original's samples, which are 1 at full scale. If the video has no audio, or only silence, the music is not changed.
    """
    import soxr

    try:
        found = read_audio(video, start=begin)
    except UserError as err:
        return music, f", no original audio: {err}"
    if found is None:
        return music, ", no original audio: the video has none"
    samples, own_rate = found
    under = to_mono(samples.astype(np.float32) / 32768, own_rate)
    if float(np.abs(under).max(initial=0)) < SILENCE:
        return music, ", no original audio: the video's is silent"
    under = soxr.resample(under, own_rate, rate).astype(np.float32)[: music.shape[-1]]
    under = np.pad(under, (0, music.shape[-1] - len(under)))
    return normalise(
        music + np.float32(gain) * under, params.loudness, params.peak, rate
    ), f", original audio at {gain:g}"
