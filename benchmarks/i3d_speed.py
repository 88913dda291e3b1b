"""Compares the speed of the stage i3d with that of its bare networks on the same frames, in clips per second.

    python -m benchmarks.i3d_speed [--clips N] [--root DIR]

Computes the features of N clips like in a worker process of the stage: reading, resizing, optical flow, both networks, writing;
the next clip is prepared while one is computed. In turns with it, runs the two networks only, over the same windows: with
torch's own layers, and with the stage's faster pooling, whose outputs are equal. The networks use one thread; the rest of the
stage needs a second core.
"""

from pathlib import Path
from unittest.mock import patch

from torch.nn import functional as F

from benchmarks.turns import arguments, in_turns, report, worker
from dataset_tools.clips.rows import ClipRow
from dataset_tools.i3d import net as i3d_net
from dataset_tools.i3d import stage as i3d
from dataset_tools.i3d.params import Params
from dataset_tools.lib.core.params import load_params
from dataset_tools.lib.core.schema import read_records
from dataset_tools.lib.core.weights import locate
from dataset_tools.lib.video.clip_reader import read_clip


def main() -> None:
    args, layout = arguments("i3d_speed", __doc__)
    params = load_params(layout.params, "i3d", Params)
    files = [str(locate(name, layout)) for name in params.files]
    raft = str(locate(params.flow_weights, layout)) if params.flow == "raft" else ""
    settings = (*files, raft, params.frame_size, params.crop, params.flow, params.batch)
    rows = [c for c in read_records(layout.stage("clips") / "rows.csv", ClipRow) if c.status == "ok"][: args.clips]
    video = {c.id: layout.stage("clips") / f"{c.id}.mp4" for c in rows}

    def jobs(folder: Path) -> list[i3d.Job]:
        return [i3d.Job(clip=c, video=video[c.id], cache=folder / f"{c.id}.npy", settings=settings) for c in rows]

    extractor = i3d._extractor(*settings)
    stretches = [s for c in rows for s in extractor._stretches(read_clip(video[c.id], c.frames))]

    def bare() -> None:
        for stretch in stretches:
            extractor._windows(*stretch)

    def plain() -> None:
        with patch.object(i3d_net, "max_pool_same", lambda x, k, s: F.max_pool3d(i3d_net.pad_same(x, k, s), k, s)):
            bare()

    works = worker(i3d, jobs), plain, bare
    seconds = dict(
        zip(("whole", "torch's_own_pooling", "quicker_pooling"), in_turns(args.repeats, *works), strict=True)
    )
    report("i3d", len(rows), sum(c.frames for c in rows), **seconds)


if __name__ == "__main__":
    main()
