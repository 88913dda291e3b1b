"""How near the stage pose comes to its bare network: frames a second of both, on the same clips.

`python benchmarks/pose_speed.py [--clips N] [--root DIR]` poses N clips as the stage's worker does (reading, scaling,
network, CifCaf decoding, tracking, writing; threads of one process) and runs the network alone over the same frames,
already scaled, in turns on each clip. Both use one thread for the network; the stage's other work needs a second core.
"""

import argparse
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

import torch
from turns import in_turns, report

from dataset_tools import pose
from dataset_tools.base.layout import Layout
from dataset_tools.base.params import load_params
from dataset_tools.base.schema import read_records
from dataset_tools.base.weights import locate
from dataset_tools.vision.clip_reader import read_clip
from dataset_tools.vision.poser import batched, to_network


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, default=Path("."), help="working folder after the stage clips")
    parser.add_argument("--corpus", default="demo")
    parser.add_argument("--clips", type=int, default=4)
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    layout = Layout(root=args.root, corpus=args.corpus)
    params = load_params(layout.params, "pose", pose.Params)
    weights = locate(params.weights, layout)
    poser = pose._poser(weights, params.long_edge, params.layout, params.batch_size)
    clips = [c for c in read_records(layout.stage("clips") / "rows.csv", pose.ClipFile) if c.status == "ok"]
    rows = []
    for clip in clips[: args.clips]:
        video = layout.stage("clips") / f"{clip.id}.mp4"
        batches = [to_network(b, params.long_edge)[0] for b in batched(read_clip(video, clip.frames), params.batch_size)]

        def bare(batches=batches) -> None:
            with torch.inference_mode():
                for images in batches:
                    poser.decode.network(images)

        def stage(clip=clip, video=video) -> None:
            with tempfile.TemporaryDirectory() as folder:
                done = pose.work(
                    pose.Job(clip=clip, video=video, cache=Path(folder) / "x.npy", weights=weights, params=params)
                )
            assert not done, done

        rows.append((clip.id, clip.frames, *in_turns(bare, stage, args.repeats)))
    report("pose", rows)


if __name__ == "__main__":
    main()
