"""Conversion between seconds, frames, samples and codes, with one rule for rounding.

Conventions
-----------
Video has 30 frames per second and audio 22 050 samples per second, so one frame is exactly 735 samples.
Windows start on whole seconds. A code of hop h covers h samples; an incomplete hop at the end has no code.
2 s = 60 frames = 44 100 samples = 344 codes at hop 128 = 1378 codes at hop 32 (paper, section 4).
"""

FPS = 30
SAMPLE_RATE = 22050
SAMPLES_PER_FRAME = SAMPLE_RATE // FPS  # 735, exact
HOPS = (8, 32, 128)  # samples per code at JukeBox levels 0 (bottom), 1 (middle), 2 (top)
LEVELS = {"high": 2, "low": 1}  # the paper's name -> JukeBox level


def seconds_to_frames(seconds: float, fps: float = FPS) -> int:
    """Nearest frame index. Halves round up, not to even, so that equal steps stay equal."""
    return int(seconds * fps + 0.5)


def frames_to_seconds(frames: int) -> float:
    """Start time in seconds of a frame index."""
    return frames / FPS


def frames_to_samples(frames: int) -> int:
    """Number of samples in `frames` video frames; exact."""
    return frames * SAMPLES_PER_FRAME


def samples_to_codes(samples: int, level: int) -> int:
    """Number of codes of `samples` at JukeBox `level` (0, 1 or 2). Only whole hops count."""
    return samples // HOPS[level]


def window_starts(frames: int, seconds: int = 2) -> range:
    """Start times, in whole seconds, of the windows of length `seconds` that fit into a clip of `frames`. The hop is 1 s."""
    return range(max(0, frames // FPS - seconds + 1))
