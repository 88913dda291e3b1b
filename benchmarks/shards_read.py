"""Compares the speed of reading windows from shards and from one file per segment and stream, in random order.

    python -m benchmarks.shards_read [--root DIR --corpus demo]

Reads all windows of 2 s that start on whole seconds of the training shards. Both read from the page cache, because everything is
read once before. Times are processor times of one process, which a busy machine changes little. `as batch` also copies the
windows into a batch of 16, like in training, which bounds the speed of any reader. The last table is in wall time and shows how
many windows arrive in the training process: files and shards through a torch DataLoader with the same number of workers, window
by window and, as in docs/shards.md, batch by batch; then batches that the process reads itself.
"""

import tempfile
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

import numpy as np
import soundfile
import torch
from scipy.io import wavfile
from torch.utils.data import DataLoader, Dataset, default_convert

from dataset_tools.lib.core.cli import command_parser
from dataset_tools.lib.core.timebase import FPS, SAMPLE_RATE
from dataset_tools.lib.parallel.orphans import end_loader_worker_with_parent
from dataset_tools.lib.shard_io.shard_set import ShardSet, Window

ROOT = Path(__file__).resolve().parents[1]
FRAMES, BATCH = 2 * FPS, 16
WARM = 16  # batches that are not timed, because they were read ahead while the workers started


def write_segments(shards: ShardSet, folder: Path) -> list[tuple[str, int]]:
    """Write one file per window and stream into `folder`; returns (clip id, first frame) of every window."""
    places = [(c.clip_id, s) for c in shards.clips for s in range(0, c.frames - FRAMES + 1, FPS)]
    for clip_id, start in places:
        window, name = shards.read(clip_id, start, FRAMES), folder / f"{clip_id}_{start}"
        np.save(f"{name}.pose.npy", window.pose)
        np.save(f"{name}.i3d.npy", window.i3d)
        np.save(f"{name}.audio.npy", window.audio)
        wavfile.write(f"{name}.wav", SAMPLE_RATE, window.audio)
        soundfile.write(f"{name}.16.wav", window.audio, SAMPLE_RATE, subtype="PCM_16")
    return places


def readers(shards: ShardSet, folder: Path) -> dict[str, Callable]:
    """{name: function from (clip id, first frame) to pose, audio, i3d}."""

    def npy(clip_id, start):
        name = f"{folder}/{clip_id}_{start}"
        return np.load(name + ".pose.npy"), np.load(name + ".audio.npy"), np.load(name + ".i3d.npy")

    def wav(clip_id, start, kind=".wav"):
        name = f"{folder}/{clip_id}_{start}"
        audio, _ = soundfile.read(name + kind, dtype="float32")
        return np.load(name + ".pose.npy"), audio, np.load(name + ".i3d.npy")

    return {
        "files: .npy, audio .npy": npy,
        "files: .npy, audio .wav float": wav,
        "files: .npy, audio .wav 16 bit": lambda clip_id, start: wav(clip_id, start, ".16.wav"),
        "shards: read (a copy)": lambda clip_id, start: shards.read(clip_id, start, FRAMES),
        "shards: view (no copy)": lambda clip_id, start: shards.view(clip_id, start, FRAMES),
    }


def rate(read: Callable, order: list[tuple[str, int]], batch: list[np.ndarray] | None) -> float:
    """Windows per second of processor time, best of three."""
    best = np.inf
    for _ in range(3):
        begin = time.process_time()
        for number, place in enumerate(order):
            window = read(*place)
            if batch is not None:
                for into, values in zip(batch, window, strict=False):  # the demo has no motion stream
                    into[number % BATCH] = values
        best = min(best, time.process_time() - begin)
    return len(order) / best


class Windows(Dataset):
    """A reader's windows for a DataLoader."""

    def __init__(self, read: Callable, order: list[tuple[str, int]]):
        self.read, self.order = read, order

    def __len__(self) -> int:
        return len(self.order)

    def __getitem__(self, index: int) -> tuple[np.ndarray, ...]:
        return tuple(self.read(*self.order[index]))


def windows_per_second(batches: Iterator[Sequence[torch.Tensor]]) -> float:
    """Windows that arrive in this process per second of wall time, without the start of the loader."""
    for _ in range(WARM):
        next(batches)
    begin, count = time.perf_counter(), 0
    for batch in batches:
        count += len(batch[0])
    return count / (time.perf_counter() - begin)


def dataloader_rate(windows: Sequence, workers: int, collate: Callable | None = None) -> float:
    """`windows_per_second` through a plain DataLoader."""
    loader = DataLoader(
        windows,
        batch_size=BATCH,
        num_workers=workers,
        drop_last=True,
        collate_fn=collate,
        worker_init_fn=end_loader_worker_with_parent,
    )
    return windows_per_second(iter(loader))


def main(argv: list[str] | None = None) -> int:
    """Print both tables."""
    parser = command_parser("benchmarks.shards_read", __doc__)
    parser.add_argument("--root", type=Path, default=Path("."))
    parser.add_argument("--corpus", default="demo")
    parser.add_argument("--windows", type=int, default=2000, help="windows read per measurement")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--loops", type=int, default=10, help="times whole batches are read, to be long enough to time")
    args = parser.parse_args(argv)
    torch.set_num_threads(1)
    shards = ShardSet(args.root / "data" / args.corpus / "shards", "train")
    with tempfile.TemporaryDirectory() as name:
        places = write_segments(shards, Path(name))
        picked = np.random.default_rng(0).integers(0, len(places), args.windows)
        order, found = [places[k] for k in picked], {}
        window = shards.read(*places[0], FRAMES)
        batch = [np.empty((BATCH, *values.shape), values.dtype) for values in window[:3]]
        size = sum(values.nbytes for values in window) / 1024
        print(f"{len(places)} windows of {size:.0f} KiB in {len(shards.clips)} clips; {args.windows} reads at random")
        print(f"{'one process, processor time':34s} windows/s   as batch")
        for label, read in readers(shards, Path(name)).items():
            for place in places:
                read(*place)
            found[label] = rate(read, order, None), rate(read, order, batch)
            print(f"{label:34s} {found[label][0]:9.0f}  {found[label][1]:9.0f}")
        groups = [order[k : k + BATCH] for k in range(0, len(order) - BATCH + 1, BATCH)]
        filled = shards.read_batch(groups[0], FRAMES)
        best = np.inf
        for _ in range(3):
            begin = time.process_time()
            for group in groups:
                shards.read_batch(group, FRAMES, filled)
            best = min(best, time.process_time() - begin)
        whole = len(groups) * BATCH / best
        print(f"{'shards: read_batch':34s} {'':9s}  {whole:9.0f}")
        for kind in ("audio .npy", "audio .wav float", "audio .wav 16 bit"):
            alone, batched = found[f"files: .npy, {kind}"]
            view, copy = (found[f"shards: {word}"][0] / alone for word in ("view (no copy)", "read (a copy)"))
            print(f"shards against {kind:18s}: view x {view:.0f}, read x {copy:.1f}, as batch x {whole / batched:.1f}")
        files, copies = (
            readers(shards, Path(name))[k] for k in ("files: .npy, audio .wav float", "shards: read (a copy)")
        )
        many = order * args.loops

        def whole_batch(windows: list[tuple[str, int]]) -> Window:
            return default_convert(shards.read_batch(windows, FRAMES))

        ways = {
            "files: .npy, audio .wav float": lambda: dataloader_rate(Windows(files, order), args.workers),
            "shards: read (a copy)": lambda: dataloader_rate(Windows(copies, order), args.workers),
            "shards: read_batch": lambda: dataloader_rate(many, args.workers, whole_batch),
            "shards: read_batch, no loader": lambda: windows_per_second(
                shards.read_batch(group, FRAMES, filled) for group in groups * args.loops
            ),
        }
        rates = dict.fromkeys(ways, 0.0)
        for _ in range(3):
            rates = {label: max(rates[label], way()) for label, way in ways.items()}
        print(f"{args.workers} loader workers, batches of {BATCH}, time of the clock, best of 3   windows/s")
        for label, found_rate in rates.items():
            print(f"{label:34s} {found_rate:9.0f}  x {found_rate / next(iter(rates.values())):.1f}")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
