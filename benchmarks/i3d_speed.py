"""How near the stage i3d comes to its bare networks: frames a second of both, on the same clips.

`python benchmarks/i3d_speed.py [--clips N] [--root DIR]` computes N clips' features as the stage's worker does (reading,
resizing, optical flow, both networks, writing; two threads of one process) and runs the two networks alone over the same
windows, in turns on each clip. Both use one thread for the networks; the stage's other work needs a second core.
"""

import argparse
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from turns import in_turns, report

from dataset_tools import i3d
from dataset_tools.base.layout import Layout
from dataset_tools.base.params import load_params
from dataset_tools.base.schema import read_records
from dataset_tools.base.weights import locate
from dataset_tools.vision.clip_reader import read_clip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--root", type=Path, default=Path("."), help="working folder after the stage clips")
    parser.add_argument("--corpus", default="demo")
    parser.add_argument("--clips", type=int, default=4)
    parser.add_argument("--repeats", type=int, default=3)
    args = parser.parse_args()
    layout = Layout(root=args.root, corpus=args.corpus)
    params = load_params(layout.params, "i3d", i3d.Params)
    files = [str(locate(name, layout)) for name in params.files]
    raft = str(locate(params.flow_weights, layout)) if params.flow == "raft" else ""
    settings = (*files, raft, params.frame_size, params.crop, params.flow, params.batch)
    extractor = i3d._extractor(*settings)
    clips = [c for c in read_records(layout.stage("clips") / "rows.csv", i3d.ClipFile) if c.status == "ok"]
    rows = []
    for clip in clips[: args.clips]:
        video = layout.stage("clips") / f"{clip.id}.mp4"
        stretches = list(extractor._stretches(read_clip(video, clip.frames)))

        def bare(stretches=stretches) -> None:
            for stretch in stretches:
                extractor._windows(*stretch)

        def stage(clip=clip, video=video) -> None:
            with tempfile.TemporaryDirectory() as folder:
                done = i3d.work(i3d.Job(clip=clip, video=video, cache=Path(folder) / "x.npy", settings=settings))
            assert not done, done

        rows.append((clip.id, clip.frames, *in_turns(bare, stage, args.repeats)))
    report("i3d", rows)


if __name__ == "__main__":
    main()
