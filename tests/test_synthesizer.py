"""Fine-tuning the decoder: nothing else changes, equal seeds give equal bytes, losses fall."""

import csv
import json

import pytest
import torch
import yaml
from builders import build_shards

from d2m_model import synthesizer
from d2m_model.nets.jukebox_vqvae import JukeboxVQVAE, VqVaeConfig
from d2m_model.training.loop import Run
from d2m_model.training.shard_data import WindowData
from d2m_model.training.vqvae_files import load_vqvae, save_vqvae
from dataset_tools.base.errors import UserError

PARAMS = {
    "steps": 25, "batch": 2, "seconds": 0.1, "learning_rate": 0.002, "discriminator_width": 0.125, "scales": 2,
    "test_windows": 2, "log_every": 4,
}  # fmt: skip


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A working folder with shards and an untrained VQ-VAE, after fine-tuning its high level."""
    root = tmp_path_factory.mktemp("synthesizer")
    (root / "manifests" / "tiny").mkdir(parents=True)
    (root / "params.yaml").write_text(yaml.safe_dump({"synthesizer": PARAMS}))
    shards = root / "data" / "tiny" / "shards"
    build_shards(shards, clips=3, seconds=3)
    build_shards(shards, clips=1, seconds=3, split="test", first=3)
    torch.manual_seed(0)
    model = JukeboxVQVAE(VqVaeConfig(width=8, depth=1, multipliers=(1, 1, 1), bins=16))
    for level in range(3):
        model.codebook(level).k.normal_()
    save_vqvae(root / "runs" / "tiny" / "vqvae" / "model.pt", model, {})
    assert synthesizer.main(["--corpus", "tiny", "--root", str(root), "--level", "high"]) == 0
    return root


def test_only_that_levels_decoder_changes(root):
    before = load_vqvae(root / "runs" / "tiny" / "vqvae" / "model.pt")
    after = load_vqvae(root / "runs" / "tiny" / "synthesizer" / "high" / "model.pt")
    for name, value in after.state_dict().items():
        changed = not torch.equal(value, before.state_dict()[name])
        assert changed == name.startswith("decoders.2."), name
    assert synthesizer.fingerprint(before, 2) == synthesizer.fingerprint(after, 2)
    assert synthesizer.fingerprint(before, 1) != synthesizer.fingerprint(after, 1)


def test_losses_fall_and_metrics_have_before_and_after(root):
    out = root / "runs" / "tiny" / "synthesizer" / "high"
    rows = list(csv.DictReader((out / "curves.csv").open()))
    assert [int(r["step"]) for r in rows] == [4, 8, 12, 16, 20, 24, 25]
    assert set(rows[0]) == {"step", "loss", "adversarial", "feature_matching", "wave", "mel", "discriminator"}
    assert float(rows[-1]["mel"]) < float(rows[0]["mel"])
    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics["level"] == "high" and set(metrics["before"]) == set(metrics["after"])
    assert metrics["before"]["codes_used"] == metrics["after"]["codes_used"]


def test_equal_seeds_give_equal_bytes(root, tmp_path):
    from dataset_tools.base.params import load_params

    params = load_params(root / "params.yaml", "synthesizer", synthesizer.Params)
    runs = root / "runs" / "tiny"
    synthesizer.train(root / "data" / "tiny" / "shards", runs / "vqvae" / "model.pt", "high", params, tmp_path)
    for name in ("model.pt", "metrics.json", "curves.csv"):
        assert (tmp_path / name).read_bytes() == (runs / "synthesizer" / "high" / name).read_bytes(), name


def test_a_moving_codebook_is_noticed(root, monkeypatch):
    model = load_vqvae(root / "runs" / "tiny" / "vqvae" / "model.pt")
    data = WindowData(root / "data" / "tiny" / "shards", "train", 0.1)
    encode = model.encode

    def encode_and_move(audio, level):
        model.codebook(level).k.add_(1e-3)
        return encode(audio, level)

    monkeypatch.setattr(model, "encode", encode_and_move)
    params = synthesizer.Params(steps=1, batch=1, seconds=0.1, discriminator_width=0.125, scales=1)
    with pytest.raises(RuntimeError, match="more than the decoder"):
        synthesizer.fine_tune(model, 2, data, data, params, Run(stage="synthesizer"))


def test_missing_vqvae_is_one_line(root, tmp_path):
    params = synthesizer.Params(steps=1, batch=1, seconds=0.1)
    with pytest.raises(UserError, match="model.pt: file not found"):
        synthesizer.train(root / "data" / "tiny" / "shards", tmp_path / "model.pt", "high", params, tmp_path / "out")


@pytest.mark.parametrize("change", [{"discriminator": "mine"}, {"scales": 4}, {"betas": (0.5,)}, {"wave": -1.0}, {"gain": 0}])
def test_params_out_of_range_are_refused(change):
    with pytest.raises(ValueError):
        synthesizer.Params(**change)
