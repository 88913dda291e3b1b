"""From a window of dance to audio: lengths, nobody in the picture, files that do not belong together."""

import numpy as np
import pytest
import torch

from d2m_model.nets.dance_to_codes import DanceToCodes
from d2m_model.nets.jukebox_vqvae import JukeboxVQVAE, VqVaeConfig
from d2m_model.nets.presets import PRESETS
from d2m_model.training.music_model import MusicModel, load_generator, save_generator
from d2m_model.training.vqvae_files import save_vqvae
from dataset_tools.lib.core.errors import UserError

SIZE = (204, 360)
LEVELS = {"high": (2, 344), "low": (1, 1378)}


def tiny_vqvae(seed: int = 5) -> JukeboxVQVAE:
    torch.manual_seed(seed)
    vqvae = JukeboxVQVAE(VqVaeConfig(width=4, depth=1, multipliers=(1, 1, 1), bins=16)).eval().requires_grad_(False)
    for level in (1, 2):
        vqvae.codebook(level).k.copy_(torch.randn(16, 64))
    return vqvae


def tiny_net(level: str, preset: str, vqvae: JukeboxVQVAE) -> DanceToCodes:
    torch.manual_seed(1)
    book = vqvae.codebook(LEVELS[level][0]).k
    return DanceToCodes(PRESETS[preset], level, frames=60, joints=17, width=0.05, codebook=book)


def dance(frames: int = 60, people: int = 2) -> np.ndarray:
    rng = np.random.default_rng(0)
    pose = np.zeros((frames, people, 17, 3), np.float32)
    pose[:, 0, :, :2] = rng.uniform(50, 150, (1, 17, 2)) + 5 * np.sin(np.arange(frames) / 4)[:, None, None]
    pose[:, 0, :, 2] = 0.9
    return pose


@pytest.mark.parametrize("level", LEVELS)
@pytest.mark.parametrize("preset", PRESETS)
def test_a_saved_model_makes_the_same_two_seconds(tmp_path, preset, level):
    vqvae = tiny_vqvae()
    net = tiny_net(level, preset, vqvae)
    index, length = LEVELS[level]
    save_generator(tmp_path / "model.pt", net, vqvae.codebook(index).k, "full")
    save_vqvae(tmp_path / "synthesizer.pt", vqvae, {})
    model = MusicModel.load(tmp_path / "model.pt", tmp_path / "synthesizer.pt")
    assert model.frames == 60
    visual = np.random.default_rng(1).random(2048).astype(np.float32)
    audio = model.audio(dance(), SIZE, visual)
    assert audio.shape == (44100,) and audio.dtype == np.float32 and np.isfinite(audio).all()
    codes = model.codes(torch.from_numpy(dance())[None], SIZE, torch.from_numpy(visual)[None])
    assert codes.shape == (1, length) and codes.dtype == torch.int64
    np.testing.assert_array_equal(audio, MusicModel(net, vqvae).audio(dance(), SIZE, visual))


@pytest.mark.parametrize("preset", PRESETS)
def test_nobody_in_the_picture_still_gives_finite_audio(preset):
    vqvae = tiny_vqvae()
    model = MusicModel(tiny_net("high", preset, vqvae), vqvae)
    audio = model.audio(np.zeros((60, 2, 17, 3), np.float32), SIZE, np.zeros(2048, np.float32))
    assert audio.shape == (44100,) and np.isfinite(audio).all()


def test_only_the_primary_dancer_counts_and_gaps_are_bridged():
    vqvae = tiny_vqvae()
    model = MusicModel(tiny_net("high", "fixed", vqvae), vqvae)
    codes = lambda pose: model.codes(torch.from_numpy(pose)[None], SIZE, torch.zeros(1, 2048))
    crowd = dance()
    crowd[:, 1] = crowd[::-1, 0]
    assert torch.equal(codes(crowd), codes(dance()))
    holed = dance()
    holed[20:24, 0, 9] = 0
    assert (codes(holed) == codes(dance())).float().mean() > 0.8


def test_another_synthesizer_is_refused(tmp_path):
    vqvae = tiny_vqvae()
    save_generator(tmp_path / "model.pt", tiny_net("high", "fixed", vqvae), vqvae.codebook(2).k, "full")
    save_vqvae(tmp_path / "synthesizer.pt", tiny_vqvae(seed=6), {})
    with pytest.raises(UserError, match="trained with another codebook"):
        MusicModel.load(tmp_path / "model.pt", tmp_path / "synthesizer.pt")


def test_dances_read_with_other_weights_are_refused(tmp_path):
    vqvae = tiny_vqvae()
    trained = {"pose_layout": "coco17", "pose_weights": "pose_demo@1", "i3d_weights": "i3d_demo@1"}
    save_generator(tmp_path / "model.pt", tiny_net("high", "fixed", vqvae), vqvae.codebook(2).k, "full", trained)
    save_vqvae(tmp_path / "synthesizer.pt", vqvae, {})
    MusicModel.load(tmp_path / "model.pt", tmp_path / "synthesizer.pt", trained)
    with pytest.raises(
        UserError, match=r"was trained with i3d_weights 'i3d_demo@1', but these dances have 'i3d_demo@2'"
    ) as caught:
        MusicModel.load(tmp_path / "model.pt", tmp_path / "synthesizer.pt", trained | {"i3d_weights": "i3d_demo@2"})
    assert "\n" not in str(caught.value)


def test_a_file_of_another_stage_or_none_is_refused(tmp_path):
    save_vqvae(tmp_path / "synthesizer.pt", tiny_vqvae(), {})
    with pytest.raises(UserError, match="kind 'vqvae', expected 'd2m_gan'"):
        load_generator(tmp_path / "synthesizer.pt")
    with pytest.raises(UserError, match="file not found"):
        load_generator(tmp_path / "none.pt")
