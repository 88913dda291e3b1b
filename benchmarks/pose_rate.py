"""Measures how often a dancer must be looked for: beats and tempo of the demo's test dances, with poses of each nth frame.

    python -m benchmarks.pose_rate [--root .] [--corpus demo] [--every 1 2 3] [--out benchmarks/results/pose_rate.json]

Needs the corpus's clips and its trained rhythm. Poses come from each clip's video by the way of a video of one's own
(`own_video.read_posed`) with the weights of section `pose`. The true beats are the corpus's.
"""

import json
import time
from collections import defaultdict
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch

from d2m_model.generate import own_video
from d2m_model.generate.own_pose import Network
from d2m_model.metrics.p4_onsets import beat_f_measure
from d2m_model.rhythm.model import load_rhythm
from dataset_tools.clips.normalise import cut_span
from dataset_tools.clips.open_video import OpenVideo
from dataset_tools.lib.core.atomic import write_text
from dataset_tools.lib.core.cli import command_parser
from dataset_tools.lib.core.layout import Layout
from dataset_tools.lib.core.params import load_params
from dataset_tools.lib.core.weights import locate
from dataset_tools.lib.shard_io.shard_set import ShardSet
from dataset_tools.pose.params import Params as PoseParams


def main() -> None:
    parser = command_parser("benchmarks.pose_rate", __doc__)
    parser.add_argument("--root", type=Path, default=Path())
    parser.add_argument("--corpus", default="demo")
    parser.add_argument("--every", type=int, nargs="+", default=[1, 2, 3])
    parser.add_argument("--out", type=Path, default=Path("benchmarks/results/pose_rate.json"))
    args = parser.parse_args()
    layout = Layout(root=args.root.resolve(), corpus=args.corpus)
    torch.set_num_threads(1)
    posing = load_params(layout.params, "pose", PoseParams)
    network = Network(locate(posing.weights, layout), posing.long_edge)
    rhythm = load_rhythm(layout.stage("rhythm") / "model.pt")
    clips = ShardSet(layout.stage("shards"), "test").clips
    found: dict[int, dict[str, list[float]]] = {every: defaultdict(list) for every in args.every}
    for clip in clips:
        truth = np.load(layout.stage("sources") / "truth" / f"{clip.clip_id}.npz")
        video = OpenVideo(layout.stage("clips") / f"{clip.clip_id}.mp4")
        frames = own_video.frames_of(video.path)
        for every in args.every:
            begun = time.process_time()
            cut = cut_span(video, every=every, max_side=network.long_edge + 1, crop=False, audio=False)
            size, estimator = (cut.facts["width"], cut.facts["height"]), own_video._load(network, posing)
            pose = own_video._find_dancers(cut.read(), estimator, posing, size, every)[:frames]
            spent = time.process_time() - begun
            beats = replace(rhythm.beats_of(pose[:, 0]), fps=30.0)
            own = found[every]
            own["F_beats"].append(beat_f_measure(truth["beats"], beats.beats))
            own["F_downbeats"].append(beat_f_measure(truth["downbeats"], beats.downbeats))
            tempo = 60 / np.median(np.diff(truth["beats"]))
            own["tempo_within_4_percent"].append(float(bool(beats.tempo) and abs(beats.tempo / tempo - 1) <= 0.04))
            own["cpu_s_a_second_of_video"].append(spent / (frames / 30))
    result = {
        f"every {every}": {name: round(float(np.nanmean(values)), 3) for name, values in scores.items()}
        for every, scores in found.items()
    } | {"clips": len(clips)}
    write_text(args.out, json.dumps(result, indent=2) + "\n")
    print(json.dumps(result, indent=2))


if __name__ == "__main__":
    main()
