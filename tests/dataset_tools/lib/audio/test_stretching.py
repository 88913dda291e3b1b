"""Audio on moments that it should meet, where the answer is the audio itself."""

import numpy as np
import pytest

from dataset_tools.lib.audio.stretching import stretch

RATE = 22050


@pytest.mark.parametrize("at", [0.004, 0.012, 0.02, 0.2])
def test_audio_at_its_own_speed_is_only_moved(at):
    """Pieces of speed 1, also where the first seam is cut off by the start of the result, or has no place there."""
    audio = np.random.default_rng(0).normal(0, 0.1, (2, RATE)).astype(np.float32)
    moments = [(0.1, at - 0.4), (0.5, at), (0.7, at + 0.2), (0.9, at + 0.4)]
    made = stretch(audio, RATE, moments, 0.8)
    moved = round((0.5 - at) * RATE)
    wanted = audio[:, moved : moved + made.shape[1]]
    assert made.shape == (2, round(0.8 * RATE)) and made.dtype == np.float32
    np.testing.assert_allclose(made[:, : wanted.shape[1]], wanted, atol=1e-4)
    assert not made[:, wanted.shape[1] :].any(), "silence where the audio is over"
