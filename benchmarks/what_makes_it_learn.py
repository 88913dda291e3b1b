"""Finds out what makes a D2M-GAN follow the dance: trains the presets `paper` and `fixed` with one thing changed at a time.

    python -m benchmarks.what_makes_it_learn causes --root . [--steps 80 --batch 8] [--seeds 5] [--only REGEX]
    python -m benchmarks.what_makes_it_learn presets --root . --steps 200 --batch 16 --measure-every 40

Needs a finished corpus (`make repro`). `causes` scores the clips of one training song of each genre, which are held out of the
training (but not of the VQ-VAE's); `presets` scores the test split. All parameters of d2m_gan except the seed are those of
params.yaml. The scores are those of the stage evaluate: P4, own dance minus other dances, by the true beats and by the music's
onsets, with intervals over clips. Finished trainings are added to benchmarks/results/what_makes_it_learn.json; one that is
there with the same seed, steps and windows is not repeated. Prints a table of all trainings, with mean and range over the seeds of
each row; --plot draws P4 over the steps.
"""

import argparse
import dataclasses
import itertools
import json
import os
import platform
import re
import tempfile
import time
from functools import cache
from pathlib import Path

import numpy as np
import torch

from benchmarks.learning_design import PARTS, PRINTED, VariantRow
from benchmarks.learning_tables import SCORES, as_table, plot
from d2m_model.d2m_gan.params import Params
from d2m_model.d2m_gan.task import GanTask
from d2m_model.evaluate.outputs import rounded
from d2m_model.evaluate.params import Params as EvaluateParams
from d2m_model.generate.generators import WindowGenerator
from d2m_model.generate.params import Params as GenerateParams
from d2m_model.generate.stage import dance_of
from d2m_model.metrics.distances import frechet
from d2m_model.metrics.embedding import Embedder, embed
from d2m_model.metrics.inputs import true_beats
from d2m_model.metrics.scoring import Reference, score_system
from d2m_model.nets.dance_to_codes import DanceToCodes
from d2m_model.training.dance_data import DanceData
from d2m_model.training.loop import Measurement, Run, train_loop
from d2m_model.training.music_model import MusicModel
from d2m_model.training.seeding import seed_everything
from d2m_model.training.shard_data import WindowData
from d2m_model.training.vqvae_files import decoder_of, load_vqvae
from dataset_tools.lib.core.atomic import write_text
from dataset_tools.lib.core.cli import command_parser
from dataset_tools.lib.core.layout import Layout
from dataset_tools.lib.core.params import load_params
from dataset_tools.lib.shard_io.shard_format import FILE_TEXTS, ShardClip, write_shard
from dataset_tools.lib.shard_io.shard_set import ShardSet

RESULTS = Path(__file__).parent / "results" / "what_makes_it_learn.json"
KINDS = dict(zip(SCORES, ("beats_70ms", "onsets_70ms"), strict=True))


class Bench:
    """One corpus: its training clips, its scored clips, and the scoring."""

    def __init__(self, layout: Layout, scratch: Path):
        self.layout, self.scratch = layout, scratch
        self.params = load_params(layout.params, "d2m_gan", Params)
        self.generate = load_params(layout.params, "generate", GenerateParams)
        self.evaluate = load_params(layout.params, "evaluate", EvaluateParams)
        self.embedder = Embedder(self.evaluate.embedding, layout)
        found_once = (self._vqvae, self._music, self._shards, self._data, self._scored)
        self.vqvae, self.music, self.shards, self.data, self.scored = map(cache, found_once)

    def _vqvae(self, level: str):
        return load_vqvae(decoder_of(self.layout, level, "full"))

    def _music(self) -> np.ndarray:
        """Embedded patches of the whole training split, the reference of FAD."""
        train = ShardSet(self.layout.stage("shards"), "train")
        return self._patches(train.read(c.clip_id).audio for c in train.clips)

    def _shards(self, part: str, songs: float) -> Path:
        """A folder of shards with splits train and test."""
        whole = self.layout.stage("shards")
        train, test = ShardSet(whole, "train"), ShardSet(whole, "test")
        if part == "causes":
            last = {c.genre: c.song for c in sorted(train.clips, key=lambda c: c.song)}
            held = [c for c in train.clips if c.song == last[c.genre]]
            training, test = [c for c in train.clips if c.song != last[c.genre]], train
        else:
            training, held = train.clips, test.clips
        names = sorted({c.song for c in training})
        kept = names[:: round(1 / songs)]
        folder = self.scratch / f"{part}-{songs:g}"
        folder.mkdir()
        for split, source, clips in (("train", train, [c for c in training if c.song in kept]), ("test", test, held)):
            attrs = {name: split if name == "split" else getattr(source.info, name) for name in FILE_TEXTS}
            write_shard(
                folder / f"{split}-00000.h5", (_clip(source, c, split) for c in clips), attrs, source.info.motion_rate
            )
        return folder

    def _data(self, part: str, songs: float, level: str) -> DanceData:
        windows, p = WindowData(self.shards(part, songs), "train", self.params.seconds), self.params
        return DanceData(
            windows, self.vqvae(level), level, jitter=p.jitter, mirror=p.mirror, stream=p.stream, latents=True
        )

    def _scored(self, part: str) -> tuple[ShardSet, Reference]:
        """The scored clips and their reference; they are the same for every share of the songs."""
        test = ShardSet(self.shards(part, 1.0), "test")
        beats = true_beats(self.layout.stage("sources") / "truth", [c.clip_id for c in test.clips])
        songs = {c.clip_id: c.song for c in test.clips}
        return test, Reference(audio={c: test.read(c).audio for c in songs}, songs=songs, beats=beats)

    def audio(self, part: str, level: str, net: DanceToCodes) -> dict[str, np.ndarray]:
        """Music for the scored clips, like from the stage generate."""
        test, model = self.scored(part)[0], MusicModel(net, self.vqvae(level))
        with torch.random.fork_rng():  # generate sets the seed, but dropout in training must continue its own sequence
            return {
                c.clip_id: WindowGenerator(model, level).generate(dance_of(test, c, model.stream), self.generate).audio
                for c in test.clips
            }  # fmt: skip

    def score(self, part: str, level: str, net: DanceToCodes) -> dict[str, float]:
        """P4 with its intervals, onsets per clip, and FAD."""
        audio, e = self.audio(part, level, net), self.evaluate
        summary, clips = score_system(audio, self.scored(part)[1], protocols=("P4",), draws=e.draws, seed=e.seed)
        found = {}
        for name, kind in KINDS.items():
            p4 = summary["P4"][kind]
            found |= {
                name: p4["difference"],
                f"{name}_low": p4["difference_low"],
                f"{name}_high": p4["difference_high"],
            }
        onsets_a_clip = float(np.mean([clip["onsets"] for clip in clips]))
        return found | {"onsets_a_clip": onsets_a_clip, "fad": frechet(self._patches(audio.values()), self.music())}

    @torch.no_grad()
    def motion_share(self, part: str, level: str, net: DanceToCodes) -> float:
        """How much the motion matters, within 0..1: generates decoder input for the first windows of the scored clips, all with the same
        visual feature, and returns the share of its variance between dances at the same place. 0: the motion changes nothing."""
        test, model = self.scored(part)[0], MusicModel(net, self.vqvae(level))
        visual = torch.from_numpy(np.mean([test.read_i3d(c.clip_id)[0] for c in test.clips], axis=0))[None]
        made = []
        for c in test.clips:
            dance = getattr(test.read(c.clip_id, 0, model.frames), model.stream)
            generated = model.continuous_codes(torch.from_numpy(dance)[None], (c.width, c.height), visual)
            made.append(net.look_up(generated, model.codebook, model.temperature)[0])
        codes = torch.stack(made)  # (clips, 64, L)
        between, whole = codes.var(dim=0, unbiased=False).mean(dim=1).sum(), codes.var(dim=(0, 2), unbiased=False).sum()
        return float(between / whole.clamp(min=1e-12))

    def _patches(self, audio) -> np.ndarray:
        return np.concatenate([found.patches for wave in audio if (found := embed(wave, self.embedder))])

    def train(self, row: VariantRow, seed: int, args: argparse.Namespace) -> dict:
        """Train and score one row with a seed; returns its entry in the results."""
        given = {
            "steps": args.steps,
            "batch": args.batch,
            "warm_up": args.steps // 10,
            "measure_every": args.measure_every,
            "threads": args.threads,
        }
        params = dataclasses.replace(self.params, seed=seed, **given | dict(row.optimiser))
        begun, device = time.process_time(), seed_everything(params.seed, params.threads)
        task = GanTask(
            row.preset, row.level, self.vqvae(row.level), self.data(row.part, row.songs, row.level), params, device
        )
        task.held_out = Curve(self, row)
        losses = {
            k: round(v, 4)
            for k, v in train_loop(task, params.steps, params, Run(stage="d2m_gan", name=row.name)).rows[-1].items()
        }
        score = (
            task.held_out.points[-1] if params.measure_every else self.score(row.part, row.level, task.average.module)
        )
        share = self.motion_share(row.part, row.level, task.average.module)
        return {
            "row": row.name, "part": row.part, "seed": seed, "level": row.level,
            "optimiser": "printed" if row.optimiser == PRINTED else "params.yaml", "learning_rate": params.learning_rate,
            "steps": params.steps, "batch": params.batch, "clips": len(self.scored(row.part)[0].clips),
            "train_clips": len(task.data.windows.clips), **score, "motion_share": share, "cpu_s": time.process_time() - begun,
            "code_loss": losses.get("code"), "discriminator_loss": losses.get("discriminator"),
            "curve": [rounded({"step": at, **point}, 4) for at, point in zip(task.held_out.steps(params), task.held_out.points, strict=True)],
        }  # fmt: skip


class Curve:
    """A held-out scorer (generate/held_out.py) that scores like the stage evaluate, on all scored clips."""

    def __init__(self, bench: Bench, row: VariantRow):
        self.bench, self.row, self.points = bench, row, []

    def measure(self, net: DanceToCodes) -> Measurement:
        self.points.append(self.bench.score(self.row.part, self.row.level, net))
        return Measurement({f"P4_{name}": self.points[-1][name] for name in SCORES}, {})

    def steps(self, params: Params) -> list[int]:
        """The steps after which it measured."""
        every = params.measure_every
        return sorted({*range(every, params.steps + 1, every), params.steps}) if every else []


def _clip(shards: ShardSet, clip, split: str) -> ShardClip:
    read = shards.read(clip.clip_id)
    motion = read.motion if shards.info.motion_rate else None
    facts = {name: getattr(clip, name) for name in ("clip_id", "song", "genre", "width", "height")}
    return ShardClip(
        **facts, split=split, pose=read.pose, audio=read.audio, i3d=shards.read_i3d(clip.clip_id), motion=motion
    )


def main() -> None:
    parser = command_parser("benchmarks.what_makes_it_learn", __doc__)
    parser.add_argument("part", choices=tuple(PARTS))
    parser.add_argument("--root", type=Path, default=Path())
    parser.add_argument("--corpus", default="demo")
    parser.add_argument("--only", default="", help="regular expression of the rows to train")
    parser.add_argument("--steps", type=int, default=80)
    parser.add_argument("--batch", type=int, default=8)
    parser.add_argument("--seeds", type=int, default=1, help="of each row: 0, 1, ... as many")
    parser.add_argument("--measure-every", type=int, default=0)
    parser.add_argument("--threads", type=int, default=1)
    parser.add_argument("--out", type=Path, default=RESULTS)
    parser.add_argument("--plot", type=Path, help="a PNG of the rows that were measured while training")
    args = parser.parse_args()
    if args.plot and not args.measure_every:
        parser.error("--plot draws rows that were measured while training: give --measure-every")
    known = json.loads(args.out.read_text()) if args.out.is_file() else {"rows": []}
    order = [row.name for part in PARTS.values() for row in part()]
    with tempfile.TemporaryDirectory() as scratch:
        bench = Bench(Layout(root=args.root, corpus=args.corpus), Path(scratch))
        for seed, row in itertools.product(range(args.seeds), PARTS[args.part]()):
            key = lambda r: (order.index(r["row"]), r["steps"], r["batch"], r["seed"])
            wanted = (order.index(row.name), args.steps, args.batch, seed)
            if wanted in map(key, known["rows"]) or not re.search(args.only, row.name):
                continue
            done = rounded(bench.train(row, seed, args), 4)
            known["rows"] = sorted([*known["rows"], done], key=key)
            known["machine"] = {
                "device": platform.machine(),
                "cores": os.cpu_count(),
                "threads": args.threads,
                "torch": torch.__version__,
            }
            write_text(args.out, json.dumps(known, indent=1) + "\n")
            print(as_table([done]).splitlines()[-1], flush=True)
    print(as_table([r for r in known["rows"] if r["part"] == args.part]))
    if args.plot:
        plot([r for r in known["rows"] if r["part"] == args.part], args.plot)


if __name__ == "__main__":
    main()
