"""Compares the speed of the stage pose with that of its bare network on the same frames, in clips per second.

    python -m benchmarks.pose_speed [--clips N] [--root DIR]

Processes N clips like a worker process of the stage: reading, scaling, network, CifCaf decoding, tracking, writing; the next clip is
prepared while one is processed. In turns with it, runs the network only, over the same scaled frames: as loaded, and traced
like in the stage, whose outputs are equal. The network uses one thread; the rest of the stage needs a second core.
"""

from functools import partial
from pathlib import Path

import torch

from benchmarks.turns import arguments, in_turns, report, worker
from dataset_tools.clips.rows import ClipRow
from dataset_tools.lib.core.params import load_params
from dataset_tools.lib.core.schema import read_records
from dataset_tools.lib.core.weights import locate
from dataset_tools.lib.video.clip_reader import read_clip
from dataset_tools.pose import stage as pose
from dataset_tools.pose.estimator import make_batches, prepare_images
from dataset_tools.pose.params import Params
from dataset_tools.pose.traced import TracedNetwork


def main() -> None:
    args, layout = arguments("pose_speed", __doc__)
    params = load_params(layout.params, "pose", Params)
    rows = [c for c in read_records(layout.stage("clips") / "rows.csv", ClipRow) if c.status == "ok"][: args.clips]
    video = {c.id: layout.stage("clips") / f"{c.id}.mp4" for c in rows}
    weights = locate(params.weights, layout)

    def jobs(folder: Path) -> list[pose.Job]:
        shared = {"weights": weights, "params": params}
        return [pose.Job(clip=c, video=video[c.id], cache=folder / f"{c.id}.npy", **shared) for c in rows]

    estimator = pose._estimator(*jobs(Path())[0].settings)
    batches = [
        prepare_images(frames, params.long_edge)[0]
        for c in rows
        for frames in make_batches(read_clip(video[c.id], c.frames), params.batch_size)
    ]

    def bare(network) -> None:
        with torch.inference_mode():
            for images in batches:
                network(images)

    loaded, traced = estimator.decode.network, TracedNetwork(estimator.decode.network)
    works = worker(pose, jobs), partial(bare, loaded), partial(bare, traced)
    seconds = dict(zip(("whole", "as_loaded", "traced"), in_turns(args.repeats, *works), strict=True))
    report("pose", len(rows), sum(c.frames for c in rows), **seconds)


if __name__ == "__main__":
    main()
