"""Fine-tuning the decoder: nothing else changes, equal seeds give equal bytes, the audio comes nearer."""

import csv
import json
import shutil

import pytest
import torch
import yaml

from d2m_model.losses.spectral import mel_l1
from d2m_model.metrics.decoder_choice import decoder_scores, no_worse
from d2m_model.metrics.embedding import Embedder
from d2m_model.nets.jukebox_vqvae import JukeboxVQVAE, VqVaeConfig
from d2m_model.synthesizer import __main__ as synthesizer_command
from d2m_model.synthesizer import stage as synthesizer
from d2m_model.synthesizer.params import Params
from d2m_model.training.loop import Run
from d2m_model.training.shard_data import WindowData
from d2m_model.training.vqvae_files import load_vqvae, save_vqvae
from dataset_tools.lib.core.errors import UserError
from dataset_tools.lib.core.layout import Layout
from tests.d2m_model.checkpoints.test_checkpoints import random_tensors
from tests.d2m_model.checkpoints.test_jukebox import jukebox_shapes
from tests.helpers.builders import build_shards

PARAMS = {
    "steps": 25, "batch": 2, "seconds": 0.1, "learning_rate": 0.002, "discriminator_width": 0.125, "scales": 2,
    "test_windows": 2, "log_every": 4, "embedding": "",
}  # fmt: skip


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A working folder with shards and an untrained VQ-VAE, after fine-tuning its high level."""
    root = tmp_path_factory.mktemp("synthesizer")
    (root / "manifests" / "tiny").mkdir(parents=True)
    (root / "params.yaml").write_text(yaml.safe_dump({"synthesizer": PARAMS}))
    shards = root / "data" / "tiny" / "shards"
    build_shards(shards, clips=3, seconds=3, hums=True)
    build_shards(shards, clips=1, seconds=3, split="test", first=3, hums=True)
    torch.manual_seed(0)
    model = JukeboxVQVAE(VqVaeConfig(width=8, depth=1, multipliers=(1, 1, 1), bins=16))
    for level in range(3):
        model.codebook(level).k.normal_()
    save_vqvae(root / "runs" / "tiny" / "vqvae" / "model.pt", model, {})
    assert synthesizer_command.main(["--corpus", "tiny", "--root", str(root), "--level", "high"]) == 0
    return root


def test_only_that_levels_decoder_changes(root):
    before = load_vqvae(root / "runs" / "tiny" / "vqvae" / "model.pt")
    after = load_vqvae(root / "runs" / "tiny" / "synthesizer" / "high" / "model.pt")
    for name, value in after.state_dict().items():
        changed = not torch.equal(value, before.state_dict()[name])
        assert changed == name.startswith("decoders.2."), name
    assert synthesizer.frozen_weights_hash(before, 2) == synthesizer.frozen_weights_hash(after, 2)
    assert synthesizer.frozen_weights_hash(before, 1) != synthesizer.frozen_weights_hash(after, 1)


def test_the_audio_comes_nearer_and_metrics_have_before_and_after(root):
    out = root / "runs" / "tiny" / "synthesizer" / "high"
    rows = list(csv.DictReader((out / "curves.csv").open()))
    assert [int(r["step"]) for r in rows] == [4, 8, 12, 16, 20, 24, 25]
    assert set(rows[0]) == {"step", "loss", "adversarial", "feature_matching", "wave", "mel", "discriminator"}
    data = WindowData(root / "data" / "tiny" / "shards", "train", 1.0)
    audio = data.gather(data.windows).audio[:, : 172 * 128]
    before, after = (load_vqvae(root / "runs" / "tiny" / place / "model.pt") for place in ("vqvae", "synthesizer/high"))
    far, near = (mel_l1(model.decode(model.encode(audio, 2), 2), audio).item() for model in (before, after))
    assert (
        near < 0.9 * far
    )  # a hum comes to 0.74, clicks to 0.81 to 0.85 over seeds, which differ more than roundings do
    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics["level"] == "high" and set(metrics["before"]) == set(metrics["after"])
    assert metrics["before"]["codes_used"] == metrics["after"]["codes_used"]


def test_a_decoder_that_fine_tuning_made_worse_is_not_taken(root, tmp_path, capsys, monkeypatch):
    for part in ("data", "manifests"):
        (tmp_path / part).symlink_to(root / part)
    shutil.copytree(root / "runs" / "tiny" / "vqvae", tmp_path / "runs" / "tiny" / "vqvae")
    (tmp_path / "params.yaml").write_text(yaml.safe_dump({"synthesizer": PARAMS | {"steps": 2, "embedding": "demo"}}))
    monkeypatch.setattr(synthesizer, "no_worse", lambda new, old: False)
    assert synthesizer_command.main(["--corpus", "tiny", "--root", str(tmp_path), "--level", "high"]) == 0
    assert "high: fine-tuning made it worse; the VQ-VAE's own decoder is kept" in capsys.readouterr().out
    out = tmp_path / "runs" / "tiny" / "synthesizer" / "high"
    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics["kept"] == "own" and set(metrics["scores"]) == {"own", "fine-tuned"}
    before = load_vqvae(root / "runs" / "tiny" / "vqvae" / "model.pt").state_dict()
    assert all(torch.equal(value, before[name]) for name, value in load_vqvae(out / "model.pt").state_dict().items())


def test_an_inverse_stft_learns_to_play_the_codes_and_nothing_else_changes(root, tmp_path, capsys):
    for part in ("data", "manifests"):
        (tmp_path / part).symlink_to(root / part)
    shutil.copytree(root / "runs" / "tiny" / "vqvae", tmp_path / "runs" / "tiny" / "vqvae")
    sizes = {"decoder": "istft", "istft_width": 16, "istft_depth": 1, "multispectral": 1.0, "steps": 40}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump({"synthesizer": PARAMS | sizes}))
    assert synthesizer_command.main(["--corpus", "tiny", "--root", str(tmp_path), "--level", "high"]) == 0
    out = tmp_path / "runs" / "tiny" / "synthesizer" / "high"
    before, after = load_vqvae(root / "runs" / "tiny" / "vqvae" / "model.pt"), load_vqvae(out / "model.pt")
    assert list(after.istft) == [2] and synthesizer.frozen_weights_hash(before, 2) == synthesizer.frozen_weights_hash(
        after, 2
    )
    assert json.loads((out / "metrics.json").read_text())["kept"] == "istft"
    rows = list(csv.DictReader((out / "curves.csv").open()))
    assert "multispectral" in rows[0]
    assert float(rows[-1]["mel"]) < 0.85 * float(rows[0]["mel"])  # 0.70 to 0.76 over seeds, of which it is one
    (tmp_path / "params.yaml").write_text(
        yaml.safe_dump({"synthesizer": PARAMS | sizes | {"steps": 1, "embedding": "demo"}})
    )
    capsys.readouterr()
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(synthesizer, "no_worse", lambda new, old: False)
        assert synthesizer_command.main(["--corpus", "tiny", "--root", str(tmp_path), "--level", "high"]) == 0
    assert "high: the inverse STFT plays worse; the VQ-VAE's own decoder is kept" in capsys.readouterr().out
    assert not load_vqvae(out / "model.pt").istft and set(json.loads((out / "metrics.json").read_text())["scores"]) == {
        "own",
        "istft",
    }


class Plays:
    """Codes audio as itself, and plays it back with noise of this size over it."""

    def __init__(self, noise):
        self.noise = noise

    def encode(self, audio, level):
        return audio

    def decode(self, codes, level):
        return codes + self.noise * torch.randn(codes.shape, generator=torch.Generator().manual_seed(0))


def test_a_decoder_that_adds_noise_scores_worse(root):
    data = WindowData(root / "data" / "tiny" / "shards", "train", 0.1)
    audio = {clip.clip_id: data.clip_audio(k).numpy() for k, clip in enumerate(data.clips)}
    songs = {clip.clip_id: clip.song for clip in data.clips}
    scores = decoder_scores(
        {"true": Plays(0.0), "noisy": Plays(0.3)}, 2, audio, songs, Embedder("demo", Layout(root=root, corpus="tiny"))
    )
    assert scores["true"]["P4"] >= scores["noisy"]["P4"] and not no_worse({"P4": 0, "FAD": 1}, {"P4": 0.1, "FAD": 1})


def test_what_is_no_worse_in_either_score_is_taken_and_what_is_unknown_decides_nothing():
    nan = float("nan")
    assert no_worse({"P4": 0.4, "FAD": 2.0}, {"P4": 0.4, "FAD": 2.0}) and no_worse(
        {"P4": nan, "FAD": 1.0}, {"P4": nan, "FAD": 2.0}
    )
    assert not no_worse({"P4": 0.3, "FAD": 1.0}, {"P4": 0.4, "FAD": 2.0}) and not no_worse(
        {"P4": 0.5, "FAD": 3.0}, {"P4": 0.4, "FAD": 2.0}
    )


def test_equal_seeds_give_equal_bytes(root, tmp_path):
    from dataset_tools.lib.core.params import load_params

    params = load_params(root / "params.yaml", "synthesizer", Params)
    runs = root / "runs" / "tiny"
    synthesizer.train(root / "data" / "tiny" / "shards", runs / "vqvae" / "model.pt", "high", params, tmp_path)
    for name in ("model.pt", "metrics.json", "curves.csv"):
        assert (tmp_path / name).read_bytes() == (runs / "synthesizer" / "high" / name).read_bytes(), name


@pytest.fixture
def published(root, tmp_path):
    """write(**changes of params) into a working folder that has the one's shards and VQ-VAE, and a bare state dict of
    JukeBox's layout for level high."""
    (tmp_path / "manifests" / "tiny").mkdir(parents=True)
    (tmp_path / "data").symlink_to(root / "data")
    shutil.copytree(root / "runs" / "tiny" / "vqvae", tmp_path / "runs" / "tiny" / "vqvae")
    tensors = random_tensors(jukebox_shapes({level: (8, 1) for level in (0, 1, 2)}, bins=16))
    torch.save({f"module.{name}": value for name, value in tensors.items()}, tmp_path / "vqvae_high.pt")
    section = PARAMS | {"weights": "vqvae_{level}.pt"}
    (tmp_path / "params.yaml").write_text(yaml.safe_dump({"corpus": "tiny", "synthesizer": section}))
    return tmp_path, tensors


def test_a_published_one_takes_the_trainings_place(published, capsys):
    root, tensors = published
    assert synthesizer_command.main(["--root", str(root), "--level", "high"]) == 0
    shown, out = capsys.readouterr().out, root / "runs" / "tiny" / "synthesizer" / "high"
    assert (
        "high: vqvae_high.pt taken as published, not fine-tuned; its codebook is not the one of" in shown
        and "high after: " in shown
    )
    model = load_vqvae(out / "model.pt")
    assert len(tensors) == len(model.state_dict()) and all(
        torch.equal(v, tensors[k]) for k, v in model.state_dict().items()
    )
    metrics = json.loads((out / "metrics.json").read_text())
    assert metrics["steps"] == 0 and not metrics["same_codebook"] and metrics["before"] != metrics["after"]
    assert (out / "curves.csv").read_text() == "step\n"
    first = (out / "model.pt").read_bytes()
    assert (
        synthesizer_command.main(["--root", str(root), "--level", "high"]) == 0
        and (out / "model.pt").read_bytes() == first
    )
    tensors["bottleneck.level_blocks.2.k"] = load_vqvae(root / "runs" / "tiny" / "vqvae" / "model.pt").codebook(2).k
    torch.save(tensors, root / "own.pt")
    capsys.readouterr()
    assert synthesizer_command.main(["--root", str(root), "--level", "high", "--weights", "own.pt"]) == 0
    assert "own.pt taken as published, not fine-tuned\n" in capsys.readouterr().out
    assert json.loads((out / "metrics.json").read_text())["same_codebook"]


def test_what_can_t_take_its_place_is_one_line_and_nothing_is_written(published):
    root, _ = published
    torch.save({"lin.weight": torch.zeros(3)}, root / "generator.pt")
    torch.save(random_tensors(jukebox_shapes({level: (4, 1) for level in (0, 1, 2)}, bins=16)), root / "narrow.pt")
    for options, said in (
        (("--level", "low"), "weights 'vqvae_low.pt': neither a name in .* nor a file"),
        (
            ("--weights", "generator.pt"),
            "synthesizer.weights: .*generator.pt: this is D2M-GAN's high-level generator of 1 tensors; expected JukeBox's VQ-VAE",
        ),
        (
            ("--weights", "narrow.pt"),
            "synthesizer.weights: .*narrow.pt: .*width 8, .*; the sizes are those of .*vqvae/model.pt",
        ),
    ):
        with pytest.raises(UserError, match=said) as caught:
            synthesizer_command.main(["--root", str(root), *options])
        assert "\n" not in str(caught.value) and not (root / "runs" / "tiny" / "synthesizer").exists()


def test_a_moving_codebook_is_noticed(root, monkeypatch):
    model = load_vqvae(root / "runs" / "tiny" / "vqvae" / "model.pt")
    data = WindowData(root / "data" / "tiny" / "shards", "train", 0.1)
    encode = model.encode

    def encode_and_move(audio, level):
        model.codebook(level).k.add_(1e-3)
        return encode(audio, level)

    monkeypatch.setattr(model, "encode", encode_and_move)
    params = Params(steps=1, batch=1, seconds=0.1, discriminator_width=0.125, scales=1)
    with pytest.raises(RuntimeError, match="more than the decoder"):
        synthesizer.fine_tune(model, 2, data, data, params, Run(stage="synthesizer"))


def test_missing_vqvae_is_one_line(root, tmp_path):
    params = Params(steps=1, batch=1, seconds=0.1)
    with pytest.raises(UserError, match="model.pt: file not found"):
        synthesizer.train(root / "data" / "tiny" / "shards", tmp_path / "model.pt", "high", params, tmp_path / "out")


@pytest.mark.parametrize(
    "change",
    [
        {"discriminator": "mine"},
        {"scales": 4},
        {"betas": (0.5,)},
        {"wave": -1.0},
        {"gain": 0},
        {"decoder": "other"},
        {"decoder": "istft", "weights": "x"},
        {"istft_overlap": 1},
    ],
)
def test_params_out_of_range_are_refused(change):
    with pytest.raises(ValueError):
        Params(**change)
