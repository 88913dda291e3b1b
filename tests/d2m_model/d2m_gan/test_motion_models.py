"""Models that read SMPL motion and are told the genre: features, training, the way back to audio, the published files."""

import dataclasses
from functools import partial

import numpy as np
import pytest
import torch
from scipy.spatial.transform import Rotation

from d2m_model.d2m_gan import stage as d2m_gan
from d2m_model.d2m_gan.params import Params as D2mGanParams
from d2m_model.generate import stage as generate
from d2m_model.generate.generators import WindowGenerator
from d2m_model.generate.params import Params as GenerateParams
from d2m_model.nets.dance_to_codes import DanceToCodes
from d2m_model.nets.motion_features import SMPL_PAIRS, mirrored_motion, smpl_features
from d2m_model.nets.presets import PRESETS
from d2m_model.training.music_model import MusicModel, input_attributes, save_generator
from d2m_model.training.vqvae_files import save_vqvae
from dataset_tools.lib.core.errors import UserError
from dataset_tools.lib.shard_io.shard_format import NO_POSE, write_shard
from dataset_tools.lib.shard_io.shard_set import ShardSet
from tests.d2m_model.d2m_gan.test_d2m_gan import TINY, tiny_vqvae
from tests.helpers.builders import build_clip, build_shards

GENRES = ("hiphop", "house")
MOTION = dataclasses.replace(TINY, stream="motion")
TOLD = dataclasses.replace(MOTION, preset="released", genres=GENRES, steps=2)


def motion_of(turns: np.ndarray, place: np.ndarray) -> np.ndarray:
    """(M, 219) of rotation vectors (M, 24, 3) and places (M, 3)."""
    matrices = Rotation.from_rotvec(turns.reshape(-1, 3)).as_matrix().reshape(len(turns), -1)
    return np.concatenate([place, matrices], axis=1).astype(np.float32)


def test_mirrored_motion_turns_x_round_and_exchanges_sides():
    rng = np.random.default_rng(0)
    turns, place = rng.normal(size=(5, 24, 3)), rng.normal(size=(5, 3))
    order = np.arange(24)
    for pair in SMPL_PAIRS:
        order[list(pair)] = order[list(pair)[::-1]]
    expected = motion_of(
        (turns * [1, -1, -1])[:, order], place * [-1, 1, 1]
    )  # in a mirror x-turns stay, others reverse
    made = mirrored_motion(motion_of(turns, place))
    np.testing.assert_allclose(made, expected, atol=1e-6)
    np.testing.assert_allclose(mirrored_motion(made), motion_of(turns, place), atol=1e-6)


def test_motion_features_hold_speed_whatever_the_rate_and_no_place():
    def features(rate, shift=0.0):
        time = np.arange(2 * rate) / rate
        turns = np.zeros((len(time), 24, 3))
        turns[:, 15, 0] = 0.5 * time  # the head nods at half a radian a second
        walk = np.stack([time, 0 * time, 0 * time + shift], axis=1)  # 1 m a second
        return smpl_features(torch.from_numpy(motion_of(turns, walk))[None], rate)[0]

    at_60, at_30 = features(60), features(30)
    assert at_60.shape == (120, 463)
    torch.testing.assert_close(at_60, features(60, shift=3.0), atol=1e-5, rtol=0)
    for found, middle in ((at_60, 60), (at_30, 30)):
        assert found[middle, 438].item() == pytest.approx(0.1, rel=1e-3)  # the body's speed per 0.1 s
        assert found[middle, 439 + 15].item() == pytest.approx(0.05 * np.sqrt(2), rel=1e-2)
        assert found[middle, 439:].count_nonzero() == 1


@pytest.mark.parametrize("level", ["high", "low"])
@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_reads_motion(preset, level):
    torch.manual_seed(0)
    net = DanceToCodes(PRESETS[preset], level, frames=60, steps=2, width=0.05).eval()
    motion = torch.rand(2, 60, 2, 219)
    with torch.no_grad():
        codes, other = (
            net(m, (1, 1), torch.rand(2, 2048, generator=torch.Generator().manual_seed(1)))
            for m in (motion, motion.flip(1))
        )
    assert codes.shape == (2, 64, {"high": 344, "low": 1378}[level]) and not torch.equal(codes, other)
    with pytest.raises(ValueError, match="either joints or steps"):
        DanceToCodes(PRESETS[preset], level, frames=60, steps=2, joints=17)


def test_sizes_are_those_of_the_published_aistpp_files():
    from d2m_model.checkpoints.released import CODES, VISUAL
    from d2m_model.nets.code_generator import ReleasedCodeGenerator
    from d2m_model.nets.motion_encoder import ReleasedMotionEncoder

    with torch.device("meta"):
        for level in ("high", "low"):
            net = DanceToCodes(PRESETS["released"], level, frames=60, steps=2, genres=[str(n) for n in range(10)])
            published = (
                ReleasedMotionEncoder(120, 219),
                ReleasedCodeGenerator(level, 1024 + VISUAL, CODES[level], genres=10),
            )
            for ours, theirs in zip((net.motion_encoder, net.generator), published, strict=True):
                assert {n: p.shape for n, p in ours.state_dict().items()} == {
                    n: p.shape for n, p in theirs.state_dict().items()
                }


@pytest.fixture(scope="module")
def shards(tmp_path_factory):
    folder = tmp_path_factory.mktemp("shards")
    build_shards(folder, clips=2, seconds=3, motion_rate=60)
    build_shards(folder, clips=2, seconds=3, motion_rate=60, split="test", first=2)
    return folder


def played(folder, inputs):
    return WindowGenerator(MusicModel.load(folder / "model.pt", folder / "synthesizer.pt", inputs), "high")


@pytest.mark.parametrize("params", [MOTION, TOLD], ids=["fixed", "released"])
def test_trains_on_motion_and_makes_music_of_it(shards, tmp_path, params):
    vqvae = tiny_vqvae()
    d2m_gan.train(shards, vqvae, "high", "full", params, tmp_path)
    save_vqvae(tmp_path / "synthesizer.pt", vqvae, {})
    test = ShardSet(shards, "test")
    load = partial(played, tmp_path, input_attributes(test.info))
    assert load().stream == "motion"
    rows = generate.generate_split(test, load, tmp_path / "audio", GenerateParams(denoise=0.0), "test", rhythm=tmp_path)
    assert [row.id for row in rows] == ["clip_002", "clip_003"] and all(row.seconds == 3 for row in rows)
    generate.generate_split(
        test, load, tmp_path / "again", GenerateParams(denoise=0.0, workers=2), "test", rhythm=tmp_path
    )
    for row in rows:  # whichever process made it
        assert (tmp_path / "again" / f"{row.id}.wav").read_bytes() == (
            tmp_path / "audio" / f"{row.id}.wav"
        ).read_bytes()
    inputs = input_attributes(test.info)
    MusicModel.load(
        tmp_path / "model.pt", tmp_path / "synthesizer.pt", inputs | {"pose_weights": "any"}
    )  # it sees no keypoints
    del inputs["motion_rate"]
    with pytest.raises(UserError, match="was trained with motion_rate '60', but these dances have 'none'"):
        MusicModel.load(tmp_path / "model.pt", tmp_path / "synthesizer.pt", inputs)


def test_the_genre_is_heard_where_it_is_told_and_nowhere_else(shards):
    torch.manual_seed(0)
    vqvae, visual = tiny_vqvae(), torch.zeros(1, 2048)
    motion = torch.from_numpy(ShardSet(shards, "test").read("clip_002", 0, 60).motion)[None]
    told = MusicModel(DanceToCodes(PRESETS["released"], "high", frames=60, steps=2, genres=GENRES, width=0.05), vqvae)
    with torch.no_grad():
        told.net.generator.genre_embed.weight.mul_(30)
    house, hiphop = (told.for_genre(g).continuous_codes(motion, (1, 1), visual) for g in ("house", "hiphop"))
    assert not torch.equal(house, hiphop)
    with pytest.raises(UserError, match="unknown genre 'polka'; the generator was built for hiphop, house"):
        told.for_genre("polka")
    deaf = MusicModel(DanceToCodes(PRESETS["fixed"], "high", frames=60, steps=2, width=0.05), vqvae)
    assert deaf.for_genre("polka") is deaf


def test_a_variant_that_names_the_released_preset_is_told_the_genre(shards, tmp_path):
    """`variants: [full, released.full]` of preset fixed: one section of parameters serves both."""
    params = dataclasses.replace(TOLD, preset="fixed")
    for variant, genres in (("released.full", GENRES), ("full", ())):
        d2m_gan.train(shards, tiny_vqvae(), "high", variant, params, tmp_path)
        save_vqvae(tmp_path / "synthesizer.pt", tiny_vqvae(), {})
        assert MusicModel.load(tmp_path / "model.pt", tmp_path / "synthesizer.pt").net.genres == genres


def test_what_does_not_fit_together_is_one_line(shards, tmp_path):
    build_shards(tmp_path / "keypoints", clips=1, seconds=3)
    with pytest.raises(UserError, match="d2m_gan.stream is 'motion', but these shards hold keypoints only"):
        d2m_gan.train(tmp_path / "keypoints", tiny_vqvae(), "high", "full", MOTION, tmp_path)
    attrs = {
        "corpus": "a",
        "split": "train",
        "pose_layout": "coco17",
        "pose_weights": NO_POSE,
        "i3d_weights": "imported",
    }
    write_shard(tmp_path / "imported" / "train-00000.h5", [build_clip(0, motion_rate=60)], attrs, 60)
    with pytest.raises(UserError, match="d2m_gan.stream is 'pose', but these shards hold SMPL motion only"):
        d2m_gan.train(tmp_path / "imported", tiny_vqvae(), "high", "full", TINY, tmp_path)
    with pytest.raises(UserError, match="unknown genre 'house'; the generator was built for gBR, gPO"):
        d2m_gan.train(shards, tiny_vqvae(), "high", "full", dataclasses.replace(TOLD, genres=("gBR", "gPO")), tmp_path)
    for bad, said in (({"stream": "smpl"}, "pose or motion"), ({"genres": ("a", "a")}, "must differ")):
        with pytest.raises(ValueError, match=said):
            D2mGanParams(**bad)


def test_one_model_learns_from_two_corpora(shards, tmp_path):
    """AIST++-like clips of one dancer with motion beside clips of two dancers without; either pose is known to it later."""
    other = tmp_path / "other"
    build_shards(other, clips=1, seconds=4, people=3, first=7, corpus="other")
    both = ShardSet(shards, "train", (other,))
    assert [clip.clip_id for clip in both.clips] == ["clip_000", "clip_001", "clip_007"]
    assert (both.info.people, both.info.motion_rate) == (3, 0)
    assert both.read("clip_000").pose.shape[1] == 3 and not both.read("clip_000").pose[:, 2].any()
    metrics = d2m_gan.train(shards, tiny_vqvae(), "high", "full", TINY, tmp_path / "out", also=[other])
    assert metrics["train_clips"] == 3 and metrics["train_windows"] == 2 + 2 + 3
    with pytest.raises(UserError, match="hold keypoints only"):
        d2m_gan.train(shards, tiny_vqvae(), "high", "full", MOTION, tmp_path / "out", also=[other])


def test_a_further_corpus_must_not_train_on_what_is_held_out_here(tmp_path):
    own, other = tmp_path / "own", tmp_path / "other"
    build_shards(own, clips=1, seconds=2)
    build_shards(own, clips=1, seconds=2, split="test", first=7)
    build_shards(other, clips=1, seconds=2, first=7, corpus="other")
    d2m_gan.refuse_held_out(own, [])
    with pytest.raises(UserError, match=r"trains on clip clip_007 \(1 such\), which .* holds out in test"):
        d2m_gan.refuse_held_out(own, [other])


def test_a_model_of_two_corpora_takes_dances_posed_as_in_either(tmp_path):
    vqvae = tiny_vqvae()
    trained = {"pose_layout": "coco17", "pose_weights": "annotated or pose_k16@1", "i3d_weights": "i3d@1"}
    net = DanceToCodes(PRESETS["fixed"], "high", frames=60, joints=17, width=0.05, codebook=vqvae.codebook(2).k)
    save_generator(tmp_path / "model.pt", net, vqvae.codebook(2).k, "full", trained)
    save_vqvae(tmp_path / "synthesizer.pt", vqvae, {})
    for known in ("annotated", "pose_k16@1", trained["pose_weights"]):
        MusicModel.load(tmp_path / "model.pt", tmp_path / "synthesizer.pt", trained | {"pose_weights": known})
    with pytest.raises(UserError, match="but these dances have 'pose_k30@1'"):
        MusicModel.load(tmp_path / "model.pt", tmp_path / "synthesizer.pt", trained | {"pose_weights": "pose_k30@1"})


@pytest.mark.parametrize("differing, said", [("body25", "pose_layout is 'body25', but 'coco17'")])
def test_corpora_of_unlike_poses_are_refused(shards, tmp_path, differing, said):
    build_shards(tmp_path, clips=1, first=7, layout=differing, corpus="other")
    with pytest.raises(UserError, match=said):
        ShardSet(shards, "train", (tmp_path,))
