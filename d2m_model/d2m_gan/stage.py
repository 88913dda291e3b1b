"""The stage `d2m_gan`: trains a network on the shards' dances and music that generates codes from dances."""

import json
from collections.abc import Sequence
from pathlib import Path

from d2m_model.d2m_gan.params import Params
from d2m_model.d2m_gan.task import GanTask
from d2m_model.generate.held_out import HeldOutScorer
from d2m_model.nets.jukebox_vqvae import JukeboxVQVAE
from d2m_model.nets.presets import preset_of
from d2m_model.nets.variants import variant_of
from d2m_model.training.curves import Curves
from d2m_model.training.dance_data import DanceData
from d2m_model.training.distributed import rank, require_even
from d2m_model.training.loop import Run, train_loop
from d2m_model.training.music_model import input_attributes, save_generator
from d2m_model.training.seeding import seed_everything
from d2m_model.training.shard_data import WindowData
from dataset_tools.lib.core.atomic import write_text
from dataset_tools.lib.core.errors import UserError
from dataset_tools.lib.core.timebase import LEVELS
from dataset_tools.lib.core.work_cache import file_sha256
from dataset_tools.lib.shard_io.shard_set import ShardSet


def refuse_held_out(shards: Path, also: Sequence[Path]) -> None:
    """Raises UserError where a further corpus trains on a clip or song that this corpus holds out."""
    for folder in also:
        theirs = ShardSet(folder, "train").clips
        for split in ("val", "test"):
            held = ShardSet(shards, split).clips if any(shards.glob(f"{split}-*.h5")) else []
            for kind in ("clip_id", "song"):
                if shared := {getattr(c, kind) for c in held} & {getattr(c, kind) for c in theirs}:
                    raise UserError(
                        f"{folder}: trains on {kind.removesuffix('_id')} {min(shared)} ({len(shared)} such), which {shards} holds out in "
                        f"{split}; leave that corpus out of d2m_gan.also, or give what differs another name"
                    )


def train(
    shards: Path, vqvae: JukeboxVQVAE, level: str, variant: str, params: Params, out: Path, run: Run | None = None,
    also: Sequence[Path] = (),
) -> dict:  # fmt: skip
    """Train one level and variant on the shards' train split and write the results to `out`. Returns the content of metrics.json;
    with several processes only the first writes and returns it. also: shard folders of further corpora.

    Raises UserError for shards without train windows and for a loss that is not finite.
    """
    preset, run = preset_of(params.preset, variant), run or Run(stage="d2m_gan")
    shared = {
        "batch": params.batch,
        "excerpt_windows": params.excerpt_windows,
        "discriminator_windows": params.discriminator_windows,
    }
    require_even("d2m_gan", **shared)
    device = seed_everything(params.seed, params.threads)
    refuse_held_out(shards, also)
    windows = WindowData(shards, "train", variant_of(variant).seconds or params.seconds, also=also)
    vqvae = vqvae.to(device).eval().requires_grad_(False)
    kept = preset.weights.latent > 0
    data = DanceData(
        windows, vqvae, level, jitter=params.jitter, mirror=params.mirror, stream=params.stream, latents=kept
    )
    task = GanTask(preset, level, vqvae, data, params, device)
    if params.measure_every:
        task.held_out = HeldOutScorer(shards, vqvae, params.measure_clips)
    curves = train_loop(task, params.steps, params, run)
    if rank() > 0:
        return {}
    net, last = task.averaged.cpu(), {k: round(v, 6) for k, v in curves.rows[-1].items() if k != "step"}
    measured = {name: value for name, value in last.items() if name.startswith("P4")}
    metrics = {
        "level": level, "variant": variant, "preset": preset.name, "seed": params.seed, "steps": params.steps,
        "train_clips": len(windows.clips), "train_windows": len(windows),
        "generator_parameters": sum(p.numel() for p in net.parameters()),
        "discriminator_parameters": sum(p.numel() for p in task.discriminator.parameters()),
        "losses": {name: value for name, value in last.items() if name not in measured},
    } | measured  # fmt: skip
    save_generator(
        out / "model.pt", net, task.codebook.cpu(), variant, input_attributes(windows.shards.info, params.stream)
    )
    curves.write(out / "curves.csv")
    write_text(out / "metrics.json", json.dumps(metrics, indent=2) + "\n")
    run.finish()
    return metrics


def take_published_generator(
    motion: Path, generator: Path, vqvae: JukeboxVQVAE, level: str, variant: str, params: Params, out: Path
) -> dict:
    """Write the outputs of `train` with the published networks of the two files instead of trained ones; the curves have no rows.
    Returns the content of metrics.json.

    Raises UserError for files of other networks and for a variant that changes the network.
    """
    from d2m_model.checkpoints.released import published_net

    preset = preset_of(params.preset, variant)
    if (
        preset.name != "released"
        or not (preset.motion and preset.visual and preset.scaled)
        or variant_of(variant).seconds
    ):
        raise UserError(
            f"d2m_gan: the published networks are of preset released with motion, visual features and windows of 2 s; {variant} of {preset.name} is not"
        )
    codebook = vqvae.codebook(LEVELS[level]).k
    net, inputs = published_net(motion, generator, level, codebook, params.genres)
    metrics = {
        "level": level, "variant": variant, "preset": preset.name, "steps": 0,
        "generator_parameters": sum(p.numel() for p in net.parameters()), "losses": {},
        "weights_sha256": [file_sha256(file) for file in (motion, generator)],
    }  # fmt: skip
    save_generator(out / "model.pt", net, codebook, variant, inputs)
    Curves().write(out / "curves.csv")
    write_text(out / "metrics.json", json.dumps(metrics, indent=2) + "\n")
    return metrics
