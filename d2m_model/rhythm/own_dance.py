"""The beats of a user's own dance: of a video, or of its pose from any estimator."""

from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING

from dataset_tools.lib.core.atomic import check_writable
from dataset_tools.lib.core.cli import say
from dataset_tools.lib.core.errors import UserError
from dataset_tools.lib.core.layout import Layout
from dataset_tools.lib.core.timebase import FPS, frames_to_seconds

if TYPE_CHECKING:
    import numpy as np


def write_own_beats(
    layout: Layout, out: Path, *, video: Path | None = None, pose: Path | None = None, fps: float | None = None,
    dancer: int = 0, click: Path | None = None, midi: Path | None = None,
) -> None:  # fmt: skip
    """Write the beats of a dance to `out` (.json), a click track of them to `click` (.wav), and a MIDI file of them to `midi` (.mid).

    The dance is in a video, or in a pose file with `fps` frames per second; `dancer` is its dancer's number. Raises UserError
    for outputs with another suffix or that can't be written, for a rhythm that is not trained, and for an input without a dance.
    """
    for path, suffix in ((out, ".json"), (click, ".wav"), (midi, ".mid")):
        if path and path.suffix.lower() != suffix:
            raise UserError(f"{path}: must end in {suffix}")
        if path:
            check_writable(path)
    trained = layout.stage("rhythm") / "model.pt"
    if not trained.is_file():
        raise UserError(
            f"{trained}: no rhythm trained yet; train it with `python -m d2m_model.rhythm --corpus {layout.corpus}`"
        )
    given = video or pose
    if given is None or not given.exists():
        raise UserError(f"{given}: file not found")
    from d2m_model.rhythm.beats_export import export_beats  # not above: what they import takes seconds
    from d2m_model.rhythm.model import load_rhythm
    from d2m_model.rhythm.scoring import likeliest_style

    model = load_rhythm(trained)
    keypoints, rate = _of_video(video, dancer, layout) if video else _of_pose(given, fps, dancer)
    try:
        beats = replace(model.beats_of(keypoints), fps=rate)
    except ValueError as err:  # not a pose, or longer than `Beats` allows
        raise UserError(f"{video or pose}: {err}") from None
    for path in (path for path in (out, click, midi) if path):
        export_beats(path, beats)
    tempo = f"{beats.tempo:.1f} beats a minute" if beats.tempo else "no tempo"
    style = f", most like {likeliest_style(beats)}" if beats.style else ""
    say("rhythm", f"{len(beats.beats)} beats, {len(beats.downbeats)} down-beats, {tempo}{style} -> {out}")
    if not len(beats.beats):
        say("rhythm", "warning: no beat was found; is a dancer visible?")


def _of_video(video: Path, dancer: int, layout: Layout) -> tuple["np.ndarray", float]:
    """Keypoints (T, J, 3) of a dancer, and their frames per second."""
    from d2m_model.generate.own_video import read_posed

    posed = read_posed(video, layout, stage="rhythm").of_dancer(dancer, video)
    say(
        "rhythm",
        f"{video.name}: {frames_to_seconds(len(posed.pose)):.1f} s, dancer seen in {posed.coverage:.0%} of the frames",
    )
    return posed.pose[:, 0], float(FPS)


def _of_pose(pose: Path, fps: float | None, dancer: int) -> tuple["np.ndarray", float]:
    """Keypoints (T, J, 3) of a dancer in a pose file, and their frames per second."""
    from d2m_model.generate.pose_files import read_pose

    given = read_pose(pose, fps=fps, dancer=dancer)
    return given.pose, given.fps
