"""Compares temperatures of the soft lookup of the preset `fixed` by scores on TRAINING clips.

    python -m benchmarks.lookup_temperature --level high [--root .] [--corpus demo] [--clips 12] [--temperatures 1 0.5 0.25]

Needs a trained corpus (`dvc repro`). Prints for the ground truth and for each temperature: P4's difference by onsets (own dance's
music minus other dances'), onsets per clip, and FAD to the whole training split. The test split is not read.
"""

from pathlib import Path

import numpy as np

from d2m_model.evaluate.params import Params as EvaluateParams
from d2m_model.generate.generators import WindowGenerator
from d2m_model.generate.models import trained
from d2m_model.generate.params import Params
from d2m_model.generate.stage import dance_of
from d2m_model.metrics.distances import frechet
from d2m_model.metrics.embedding import Embedder, embed
from d2m_model.metrics.p4_onsets import onset_times, own_minus_other
from d2m_model.training.music_model import MusicModel, input_attributes
from dataset_tools.lib.core.cli import command_parser
from dataset_tools.lib.core.layout import Layout
from dataset_tools.lib.core.params import load_params
from dataset_tools.lib.core.timebase import LEVELS, frames_to_seconds
from dataset_tools.lib.shard_io.shard_set import ShardSet


def main() -> None:
    parser = command_parser("benchmarks.lookup_temperature", __doc__)
    parser.add_argument("--root", type=Path, default=Path())
    parser.add_argument("--corpus", default="demo")
    parser.add_argument("--level", choices=tuple(LEVELS), default="high")
    parser.add_argument("--variant", default="full")
    parser.add_argument("--clips", type=int, default=12)
    parser.add_argument("--temperatures", type=float, nargs="+", default=[1, 0.5, 0.33, 0.25, 0.125])
    args = parser.parse_args()
    layout = Layout(root=args.root, corpus=args.corpus)
    train = ShardSet(layout.stage("shards"), "train")
    clips = train.clips[:: max(1, len(train.clips) // args.clips)][: args.clips]
    music = {c.clip_id: train.read(c.clip_id).audio for c in train.clips}
    embedder = Embedder(load_params(layout.params, "evaluate", EvaluateParams).embedding, layout)
    patches = lambda audio: np.concatenate([e.patches for s in audio if (e := embed(s, embedder))])
    database = patches(music.values())
    onsets = {c.clip_id: onset_times(music[c.clip_id]) for c in clips}
    seconds, songs = {c.clip_id: frames_to_seconds(c.frames) for c in clips}, {c.clip_id: c.song for c in clips}

    def report(name: str, audio: dict[str, np.ndarray]) -> None:
        found = {c: onset_times(s) for c, s in audio.items()}
        pairs = np.array(list(own_minus_other(found, onsets, seconds, songs).values()))
        difference, count = np.nanmean(pairs[:, 0] - pairs[:, 1]), np.mean([len(f) for f in found.values()])
        print(
            f"{name:>16}  P4 {difference:+.3f}  onsets {count:5.1f}  FAD {frechet(patches(audio.values()), database):6.2f}",
            flush=True,
        )

    report("ground truth", {c.clip_id: music[c.clip_id] for c in clips})
    model, params = (
        MusicModel.load(*trained(layout, args.level, args.variant), input_attributes(train.info)),
        load_params(layout.params, "generate", Params),
    )
    for temperature in args.temperatures:
        model.temperature = temperature
        audio = {}
        for c in clips:
            audio[c.clip_id] = (
                WindowGenerator(model, args.level).generate(dance_of(train, c, model.stream), params).audio
            )
        report(f"temperature {temperature:g}", audio)


if __name__ == "__main__":
    main()
