"""Curves of a training as CSV and for TensorBoard, and its progress bar."""

import csv
import io
import math
import shutil
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, Self

import numpy as np

from dataset_tools.lib.core.atomic import write_text
from dataset_tools.lib.core.progress import ProgressBar
from dataset_tools.lib.core.timebase import SAMPLE_RATE


class Curves:
    """Rows of one curves.csv: `step` and named values. A missing value is written as nan, because plots skip nan but read an
    empty cell as 0."""

    def __init__(self, rows: list[dict[str, float]] | None = None):
        self.rows = list(rows or [])

    def add(self, step: int, values: Mapping[str, float]) -> None:
        """Add values to the row of a step: the last row or a new one. Tensors are converted to plain numbers."""
        if not self.rows or self.rows[-1]["step"] != step:
            self.rows.append({"step": step})
        self.rows[-1].update({key: float(value) for key, value in values.items()})

    def merge_columns(self, other: "Curves", suffix: str) -> None:
        """Merge the columns of another training into the rows of the same steps; `_suffix` is added to their names."""
        rows = {row["step"]: row for row in self.rows}
        for row in other.rows:
            named = {f"{name}_{suffix}": value for name, value in row.items() if name != "step"}
            rows.setdefault(row["step"], {"step": row["step"]}).update(named)
        self.rows = [rows[step] for step in sorted(rows)]

    def write(self, path: Path) -> None:
        """Write all rows with 6 significant digits, complete or absent."""
        names = list(dict.fromkeys(key for row in self.rows for key in row)) or ["step"]
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(names)
        for row in self.rows:
            writer.writerow([f"{v:.6g}" if isinstance(v := row.get(n, math.nan), float) else v for n in names])
        write_text(path, out.getvalue())


class Board:
    """TensorBoard event files and samples/*.wav in `folder`; None writes nothing. Event files hold times of day, so the folder is
    no output of the pipeline. A new training empties it; one that continues from step `start` hides later points."""

    def __init__(self, folder: Path | None, start: int = 0):
        self.writer: Any = None
        self.folder = folder
        if folder is None:
            return
        try:
            from tensorboardX import SummaryWriter
        except ImportError:  # optional: curves.csv has the same numbers
            return
        if start == 0:
            shutil.rmtree(folder, ignore_errors=True)
        self.writer = SummaryWriter(str(folder), purge_step=start or None)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_) -> None:
        if self.writer:
            self.writer.close()

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        """Write one point of each curve."""
        for name, value in values.items() if self.writer else ():
            self.writer.add_scalar(name, value, step)

    def audio(self, step: int, audio: Mapping[str, np.ndarray]) -> None:
        """Write audio {name: (S,) at 22 050 Hz}, to play in TensorBoard and as samples/<step>-<name>.wav."""
        if not self.writer or not audio:
            return
        import soundfile

        assert self.folder is not None
        (self.folder / "samples").mkdir(exist_ok=True)
        for name, wave in audio.items():
            clipped = np.clip(wave, -1, 1)
            self.writer.add_audio(name, clipped[:, None], step, sample_rate=SAMPLE_RATE)
            soundfile.write(self.folder / "samples" / f"{step:06d}-{name}.wav", clipped, SAMPLE_RATE, subtype="PCM_16")


class Steps:
    """Iterate over training steps `start`..`total`-1 with a progress bar that shows the time left and steps per second.

    >>> for step in (steps := Steps(100, label="vqvae 2")):
    ...     steps.show(loss=0.5)
    """

    def __init__(self, total: int, label: str, start: int = 0, *, hidden: bool = False):
        self.total, self.start = total, start
        self.bar = ProgressBar(total=total, initial=start, desc=label, unit="step", disable=hidden)

    def __iter__(self) -> Iterator[int]:
        with self.bar:
            for step in range(self.start, self.total):
                yield step
                self.bar.update()

    def show(self, **losses: float) -> None:
        """Show numbers behind the bar."""
        self.bar.set_postfix({key: f"{float(value):.3g}" for key, value in losses.items()}, refresh=False)
