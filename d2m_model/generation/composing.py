"""Finished music for one dance: a model's windows joined, denoised, brought to a loudness."""

import numpy as np

from d2m_model.generation.finish import denoise, normalise
from d2m_model.generation.settings import Params
from d2m_model.generation.windows import WindowModel, render
from d2m_model.training.seeding import seed_everything
from dataset_tools.base.errors import UserError
from dataset_tools.base.timebase import FPS, SAMPLE_RATE, frames_to_seconds


def compose(
    model: WindowModel, pose: np.ndarray, size: tuple[int, int], visual: np.ndarray, params: Params
) -> np.ndarray:
    """Finished music for one dance: windows joined, denoised, normalised. Shapes as in `render`; (T * 735,) float32.

    Raises UserError where the model's windows are too short for `hop` and `crossfade`.
    """
    window = frames_to_seconds(model.frames)
    if params.hop + params.crossfade > window:
        raise UserError(f"generate.hop {params.hop} s and crossfade {params.crossfade} s don't fit into the model's window of {window:g} s; lower hop")
    seed_everything(params.seed, params.threads)  # before each dance: its music does not depend on those before it
    fade = round(params.crossfade * SAMPLE_RATE)
    audio = render(model, pose, size, visual, hop=params.hop * FPS, fade=fade)
    return normalise(denoise(audio, params.denoise), params.loudness, params.peak)
