"""D2M-GAN's two published files in the place of a training: taken over, played like any trained model, refused in a line."""

import json
import wave

import pytest
import torch
import yaml

from d2m_model.checkpoints import load_released
from d2m_model.checkpoints.released import GENRE_NAMES
from d2m_model.d2m_gan import __main__ as d2m_gan
from d2m_model.generate import __main__ as generate
from d2m_model.synthesizer import __main__ as synthesizer
from d2m_model.training.music_model import MusicModel
from d2m_model.training.vqvae_files import save_vqvae
from dataset_tools.lib.core.errors import UserError
from dataset_tools.lib.shard_io.shard_set import ShardSet
from tests.d2m_model.checkpoints.test_released import released_shapes, released_tensors, save_shapes
from tests.d2m_model.training.test_music_model import tiny_vqvae
from tests.helpers.builders import GENRES, build_shards


@pytest.fixture(scope="module")
def root(tmp_path_factory):
    """A working folder with a clip that has SMPL motion, a small VQ-VAE and AIST++'s two files of level high."""
    root = tmp_path_factory.mktemp("published")
    (root / "manifests" / "tiny").mkdir(parents=True)
    build_shards(root / "data" / "tiny" / "shards", clips=1, seconds=3, split="test", motion_rate=60)
    torch.save(tiny_vqvae().state_dict(), root / "vqvae_high.pt")
    for folder in ("vqvae", "synthesizer/high", "synthesizer/low"):
        save_vqvae(root / "runs" / "tiny" / folder / "model.pt", tiny_vqvae(), {})
    for seed, (name, shapes) in enumerate(zip(("motion", "high"), released_shapes("aistpp", "high"), strict=True)):
        torch.save(released_tensors(shapes, seed), root / f"{name}.pt")
    save_shapes(root / "tiktok.pt", released_shapes("tiktok", "high")[0])
    write_params(root)
    return root


def write_params(root, **changes) -> None:
    names = [*GENRES, *GENRE_NAMES[len(GENRES) :]]
    section = {
        "preset": "released",
        "genres": names,
        "motion_weights": "motion.pt",
        "generator_weights": "{level}.pt",
        "threads": 2,
    }
    (root / "params.yaml").write_text(
        yaml.safe_dump(
            {
                "corpus": "tiny",
                "synthesizer": {"weights": "vqvae_{level}.pt"},
                "d2m_gan": section | changes,
                "generate": {"threads": 2},
            }
        )
    )


def test_they_play_as_published_through_the_commands(root, capsys):
    (root / "runs" / "tiny" / "synthesizer" / "high" / "model.pt").unlink()
    assert synthesizer.main(["--root", str(root), "--level", "high"]) == 0
    assert d2m_gan.main(["--root", str(root), "--level", "high"]) == 0
    assert "high-full: motion.pt and high.pt taken as published, not trained" in capsys.readouterr().out
    out = root / "runs" / "tiny" / "d2m_gan" / "high-full"
    assert json.loads((out / "metrics.json").read_text())["steps"] == 0 and (out / "curves.csv").read_text() == "step\n"
    assert generate.main(["--root", str(root), "--level", "high", "--variant", "full"]) == 0
    with wave.open(str(root / "runs" / "tiny" / "generate" / "high-full" / "clip_000.wav")) as audio:
        assert audio.getnframes() == 3 * 22050
    clip = ShardSet(root / "data" / "tiny" / "shards", "test").read("clip_000", 0, 60)
    motion, visual = torch.from_numpy(clip.motion)[None], torch.rand(1, 2048)
    model = MusicModel.load(
        out / "model.pt", root / "runs" / "tiny" / "synthesizer" / "high" / "model.pt", {"motion_rate": "60"}
    )
    published = load_released(root / "motion.pt", root / "high.pt", level="high", corpus="aistpp")
    with torch.no_grad():
        expected = published(motion.flatten(1, 2), visual[:, None], torch.tensor([0]))
    assert (expected.abs() < 99).any()  # where the tanh tells values apart
    torch.testing.assert_close(
        model.for_genre(GENRES[0]).continuous_codes(motion, (1, 1), visual), expected, rtol=1e-5, atol=1e-3
    )
    with pytest.raises(UserError, match="trained with motion_rate '60', but these dances have 'none'"):
        MusicModel.load(
            out / "model.pt", root / "runs" / "tiny" / "synthesizer" / "high" / "model.pt", {"pose_layout": "coco17"}
        )


@pytest.mark.parametrize(
    ("changes", "options", "said"),
    [
        ({"motion_weights": ""}, (), "motion_weights and generator_weights go together"),
        ({"motion_weights": "none.pt"}, (), "weights 'none.pt': neither a name in .* nor a file"),
        (
            {"motion_weights": "tiktok.pt"},
            (),
            "tiktok.pt: d2m_gan.genres are given, but .* tiktok have no genre condition",
        ),
        (
            {"motion_weights": "tiktok.pt", "genres": []},
            (),
            r"high.pt: this is D2M-GAN's high-level generator .*expected .* for tiktok",
        ),
        ({"generator_weights": "motion.pt"}, (), "motion.pt: this is D2M-GAN's motion encoder"),
        (
            {"motion_weights": "high.pt"},
            (),
            "high.pt: this is D2M-GAN's high-level generator .*expected D2M-GAN's motion encoder",
        ),
        (
            {"motion_weights": "tiktok.pt", "genres": []},
            ("--level", "low", "--generator-weights", "high.pt"),
            "for TikTok cannot run",
        ),
        ({"genres": ["a", "b"]}, (), "genres must be the corpus's names of gBR, gPO"),
        ({}, ("--variant", "no_motion"), "no_motion of released is not"),
        ({}, ("--variant", "paper.full"), "genres|paper.full of paper is not"),
    ],
)
def test_what_is_missing_or_unfit_is_one_line_and_nothing_is_written(root, changes, options, said):
    write_params(root, **changes)
    before = sorted(root.rglob("*"))
    with pytest.raises(UserError, match=said):
        d2m_gan.main(["--root", str(root), *options])
    assert sorted(root.rglob("*")) == before


def test_a_missing_vq_vae_is_said(root, tmp_path):
    write_params(root)
    (root / "runs" / "tiny" / "synthesizer" / "high" / "model.pt").rename(tmp_path / "aside.pt")
    with pytest.raises(
        UserError, match="synthesizer/high/model.pt: file not found; run the stages before this one first"
    ):
        d2m_gan.main(["--root", str(root)])
