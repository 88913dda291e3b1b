"""A small listening study, for the tests of its audio and of its pages."""

from pathlib import Path

import numpy as np
import pytest
import torch
import yaml

from d2m_model.generate.finish import write_wav
from d2m_model.listen import stage as listen
from d2m_model.listen.design import Stimulus
from d2m_model.listen.params import Params
from d2m_model.listen.store import Store
from d2m_model.nets.jukebox_vqvae import JukeboxVQVAE, VqVaeConfig
from d2m_model.training.vqvae_files import save_vqvae
from dataset_tools.lib.core.cli import layout_of, stage_parser
from dataset_tools.lib.core.params import load_params
from dataset_tools.lib.video.video_io import rgb_frames, write_clip
from tests.helpers.builders import build_clip, build_shards

NAMED = {
    "levels": ["high", "low"],
    "models": ["full"],
    "systems": ["cmt"],
    "evaluate": {"others": {"CDCD": "external/cdcd"}},
}
PARAMS = {
    "systems": ["high-full", "low-full"],
    "raters": 2,
    "items": 3,
    "clips": 2,
    "seconds": 2,
    "practice": 1,
    "checks": 1,
    "draws": 100,
}


@pytest.fixture(scope="module")
def root(tmp_path_factory) -> Path:
    """A working folder with three test clips of 3 s, their videos, two models, a baseline and a system of others, and a
    VQ-VAE per level."""
    root = tmp_path_factory.mktemp("listen")
    (root / "manifests" / "tiny").mkdir(parents=True)
    (root / "params.yaml").write_text(yaml.safe_dump(NAMED | {"corpus": "tiny", "listen": PARAMS}))
    build_shards(root / "data/tiny/shards", clips=3, seconds=3, split="test")
    torch.manual_seed(0)
    model = JukeboxVQVAE(VqVaeConfig(width=8, depth=1, multipliers=(1, 1, 1), bins=16))
    for level in ("high", "low"):
        save_vqvae(root / f"runs/tiny/synthesizer/{level}/model.pt", model, {})
    clips = root / "data/tiny/clips"
    clips.mkdir(parents=True)
    for number in range(3):
        name, audio = f"clip_{number:03d}", build_clip(number, seconds=3).audio
        pictures = (np.full((64, 48, 3), (20 + 2 * i, 90, 30 * number), np.uint8) for i in range(90))
        write_clip(clips / f"{name}.mp4", rgb_frames(pictures), None)
        made = (
            (0.2, "runs/tiny/generate/high-full"),
            (0.5, "runs/tiny/generate/low-full"),
            (0.3, "runs/tiny/baselines/cmt"),
            (0.1, "external/cdcd"),
        )
        for factor, folder in made:
            hiss = np.random.default_rng(number).standard_normal(len(audio)).astype(np.float32)
            write_wav(root / f"{folder}/{name}.wav", factor * audio + 0.02 * hiss)
    return root


@pytest.fixture(scope="module")
def study(root) -> tuple[Store, dict[Stimulus, str]]:
    layout = layout_of(stage_parser("x", "").parse_args(["--root", str(root), "--corpus", "tiny"]))
    return listen.prepare(layout, load_params(layout.params, "listen", Params))
