"""Loss curves as CSV and the progress bar of a training loop."""

import csv
import io
from collections.abc import Iterator, Mapping
from pathlib import Path

from tqdm import tqdm

from dataset_tools.base.atomic import write_text


class Curves:
    """Rows of one curves.csv: `step` and flat loss keys. A key first seen late is empty in earlier rows."""

    def __init__(self, rows: list[dict[str, float]] | None = None):
        self.rows = list(rows or [])

    def add(self, step: int, losses: Mapping[str, float], **labels: str | int) -> None:
        """One row; `labels` (such as level=2) come before the step. Tensors become plain numbers here."""
        self.rows.append({**labels, "step": step, **{key: float(value) for key, value in losses.items()}})

    def write(self, path: Path) -> None:
        """Write everything so far, complete or absent; 6 significant digits."""
        names = list(dict.fromkeys(key for row in self.rows for key in row)) or ["step"]
        out = io.StringIO()
        writer = csv.writer(out, lineterminator="\n")
        writer.writerow(names)
        for row in self.rows:
            writer.writerow([f"{v:.6g}" if isinstance(v := row.get(n, ""), float) else v for n in names])
        write_text(path, out.getvalue())


class Steps:
    """Iterate over training steps `start`..`total`-1 with a bar that shows the time left and windows per second.

    >>> for step in (steps := Steps(100, batch=8, label="vqvae 2")):
    ...     steps.show(loss=0.5)
    """

    def __init__(self, total: int, batch: int, label: str, start: int = 0):
        self.total, self.batch, self.start = total, batch, start
        self.bar = tqdm(
            total=total * batch, initial=start * batch, desc=label, unit="win", unit_scale=True,
            delay=1, dynamic_ncols=True, mininterval=0.5,
        )  # fmt: skip

    def __iter__(self) -> Iterator[int]:
        with self.bar:
            for step in range(self.start, self.total):
                yield step
                self.bar.update(self.batch)

    def show(self, **losses: float) -> None:
        """Put numbers behind the bar."""
        self.bar.set_postfix({key: f"{float(value):.3g}" for key, value in losses.items()}, refresh=False)
