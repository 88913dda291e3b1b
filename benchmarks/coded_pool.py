"""Encodes the beginnings of a pool's songs at level high: the training data of `istft_decoder` and `masked_prior`.

    python -m d2m_model.demo.song_pool --out POOL.npy --songs 100
    python -m benchmarks.coded_pool --pool POOL.npy --out CODES [--songs 80] [--seconds 30]

Writes CODES/high.npz like `python -m d2m_model.demo.train_prior --pool --codes`, which encodes whole songs: that takes 3 CPU
seconds per song, a beginning of 30 s takes 1.2. The file is written after every tenth song, and a later run continues from it.
"""

from pathlib import Path

import numpy as np
import torch

from benchmarks import demo_prior
from d2m_model.demo.song_pool import open_pool, score_of
from d2m_model.rhythm.music_beats import strengths
from d2m_model.training.coding import encode_long
from dataset_tools.lib.core.atomic import atomic_write
from dataset_tools.lib.core.cli import command_parser
from dataset_tools.lib.core.timebase import LEVELS, SAMPLE_RATE


def main() -> None:
    parser = command_parser("benchmarks.coded_pool", __doc__)
    parser.add_argument("--pool", type=Path, required=True)
    parser.add_argument("--out", type=Path, required=True)
    parser.add_argument("--songs", type=int, default=80)
    parser.add_argument("--seconds", type=float, default=30.0)
    args = parser.parse_args()
    torch.set_num_threads(1)
    args.out.mkdir(parents=True, exist_ok=True)
    pool, codec, file = open_pool(args.pool), demo_prior.codec(), args.out / "high.npz"
    found = dict(np.load(file)) if file.is_file() else {"codebook": codec.codebook(LEVELS["high"]).k.numpy()}
    codes = list(found.get("codes", ()))
    for number in range(len(codes), min(args.songs, len(pool))):
        audio, score = pool[number][: round(args.seconds * SAMPLE_RATE)].astype(np.float32) / 32767, score_of(number)
        codes.append(encode_long(codec, torch.from_numpy(audio), LEVELS["high"]).numpy().astype(np.uint8))
        beats, downbeats = (times[times < args.seconds] for times in (score.beats, score.downbeats))
        found |= {
            f"beats_{number}": beats,
            f"downbeats_{number}": downbeats,
            f"strength_{number}": strengths(audio, beats),
        }
        if number % 10 == 9 or number == min(args.songs, len(pool)) - 1:
            with atomic_write(file) as aside, open(aside, "wb") as out:
                np.savez(out, **found | {"codes": np.stack(codes)})
            print(f"{number + 1} songs", flush=True)


if __name__ == "__main__":
    main()
