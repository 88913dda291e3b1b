"""The generators of all presets: shapes, the published sizes, motion features that see the dance and not the camera."""

import numpy as np
import pytest
import torch

from d2m_model.nets.dance_to_codes import DanceToCodes
from d2m_model.nets.discriminator import MultiScaleDiscriminator, discriminator_config
from d2m_model.nets.fusing import fuse_for_inference
from d2m_model.nets.motion_features import body_features, fill_missing, mirrored, plain_coordinates
from d2m_model.nets.presets import PRESETS, preset_of
from d2m_model.nets.variants import variant_of
from dataset_tools.lib.core.errors import UserError

CODES = {"high": 344, "low": 1378}
HOPS = {"high": 128, "low": 32}


def dance(batch: int = 2, frames: int = 60, joints: int = 17, seed: int = 0) -> torch.Tensor:
    """(B, T, J, 3) a body that sways, all joints seen."""
    rng = torch.Generator().manual_seed(seed)
    body = torch.rand(batch, 1, joints, 2, generator=rng) * 200 + 60
    sway = (
        10 * torch.sin(torch.arange(frames) / 3)[None, :, None, None] * torch.rand(batch, 1, joints, 2, generator=rng)
    )
    return torch.cat([body + sway, torch.full((batch, frames, joints, 1), 0.9)], dim=-1)


@pytest.mark.parametrize(
    "variant", ["full", "no_motion", "no_visual", "3s", "4s", "no_scaling"]
)  # others: test_variants
@pytest.mark.parametrize("level", CODES)
@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_level_and_modality_gives_the_papers_code_lengths(preset, level, variant):
    torch.manual_seed(0)
    seconds = variant_of(variant).seconds or 2
    net = DanceToCodes(preset_of(preset, variant), level, frames=30 * seconds, joints=17, width=0.05).eval()
    with torch.no_grad():
        pose, visual = dance(frames=30 * seconds), torch.rand(2, 2048)
        codes = net(pose, (204, 360), visual)
        assert codes.shape == (2, 64, CODES[level] if seconds == 2 else seconds * 22050 // HOPS[level])
        assert torch.isfinite(codes).all()
        moved = net(pose.flip(1), (204, 360), visual)
        seen = net(pose, (204, 360), visual + torch.randn_like(visual))
    assert torch.equal(moved, codes) == (variant == "no_motion")
    assert torch.equal(seen, codes) == (variant == "no_visual")


@pytest.mark.parametrize("preset", ["paper", "released"])
def test_the_printed_presets_scale_tanh_by_100(preset):
    torch.manual_seed(0)
    net = DanceToCodes(PRESETS[preset], "high", frames=60, joints=17, width=0.05)
    codes = net(dance(), (204, 360), 50 * torch.rand(2, 2048))
    assert codes.abs().max() <= 100
    plain = DanceToCodes(preset_of(preset, "no_scaling"), "high", frames=60, joints=17, width=0.05)
    plain.load_state_dict(net.state_dict())
    assert plain(dance(), (204, 360), 50 * torch.rand(2, 2048)).abs().max() <= 1


def count(net) -> int:
    return sum(p.numel() for p in net.parameters())


def test_released_sizes_are_the_published_ones():
    with torch.device("meta"):
        high = DanceToCodes(PRESETS["released"], "high", frames=60, joints=25)
        low = DanceToCodes(PRESETS["released"], "low", frames=60, joints=25)
        discriminator = MultiScaleDiscriminator(discriminator_config("released"))
    assert count(high.motion_encoder) == 31_154_305  # 31.15 M
    assert count(high.generator) == 21_780_970  # 21.78 M
    assert 101e6 < count(low.generator) < 109e6
    assert round(count(discriminator) / 1e6, 1) == 9.2


@pytest.mark.parametrize("level", CODES)
@pytest.mark.parametrize("preset", PRESETS)
def test_width_scales_every_preset(preset, level):
    with torch.device("meta"):
        sizes = [count(DanceToCodes(PRESETS[preset], level, frames=60, joints=17, width=w)) for w in (1.0, 0.5, 0.25)]
    assert sizes[0] > 1.6 * sizes[1] > 1.6 * 1.2 * sizes[2]


@pytest.mark.parametrize("preset", PRESETS)
def test_folded_weights_give_the_same_codes(preset):
    torch.manual_seed(0)
    net = DanceToCodes(PRESETS[preset], "high", frames=60, joints=17, width=0.1).eval()
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.mul_(1 + 0.2 * torch.rand_like(parameter))  # where g is no longer |v|
        before = net(dance(), (204, 360), torch.ones(2, 2048))
        parameters = count(net)
        names = set(fuse_for_inference(net.requires_grad_(False)).state_dict())
        after = net(dance(), (204, 360), torch.ones(2, 2048))
    assert (after - before).abs().max() <= 1e-5 * before.abs().max()
    assert not any("parametrizations" in name for name in names) and fuse_for_inference(net) is net
    assert 0.98 * parameters < count(net) <= parameters  # what is gone is one length per channel


def test_fixed_takes_any_length_and_its_codes_follow_the_frames():
    """A change of one frame changes the codes around that frame's time and none far from it."""
    torch.manual_seed(0)
    net = DanceToCodes(preset_of("fixed", "no_visual"), "high", frames=60, joints=17, width=0.1).eval()
    pose = dance(1, 300)
    with torch.no_grad():
        before = net(pose, (204, 360), torch.zeros(1, 2048))
        pose[:, 150, 3] += 5
        after = net(pose, (204, 360), torch.zeros(1, 2048))
    assert before.shape[-1] == 300 * 735 // 128
    change = (after - before).abs().sum(1)[0]
    assert abs(int(change.argmax()) - 150 * 735 // 128) < 60
    assert change[:300].max() < 0.05 * change.max()


def test_other_presets_refuse_another_length():
    net = DanceToCodes(PRESETS["paper"], "high", frames=60, joints=17, width=0.05)
    with pytest.raises(ValueError, match="takes 60 frames, found 90"):
        net(dance(frames=90), (204, 360), torch.zeros(2, 2048))


def test_unknown_names_are_refused():
    with pytest.raises(UserError, match="unknown preset 'papr'.*paper, released, fixed"):
        preset_of("papr")
    with pytest.raises(UserError, match="unknown variant 'x'.*no_motion"):
        preset_of("fixed", "x")


def test_logits_prefer_the_nearest_entry():
    net = DanceToCodes(PRESETS["paper"], "high", frames=60, joints=17, width=0.05)
    book = torch.randn(20, 64, generator=torch.Generator().manual_seed(1))
    codes = torch.randn(2, 64, 7, generator=torch.Generator().manual_seed(2))
    nearest = torch.cdist(codes.transpose(1, 2), book[None]).argmin(-1)
    assert torch.equal(net.logits(codes, book).argmax(-1), nearest)


def test_body_features_do_not_depend_on_place_and_size():
    pose = dance()
    elsewhere = pose.clone()
    elsewhere[..., :2] = 1.7 * elsewhere[..., :2] + torch.tensor([40.0, -25.0])
    torch.testing.assert_close(body_features(elsewhere), body_features(pose), atol=1e-4, rtol=1e-4)


def test_body_features_hold_velocity_in_body_heights_per_tenth_second():
    pose = dance(1, 30)
    pose[..., :2] = pose[:, :1, :, :2]  # nobody moves ...
    pose[:, :, 4, 0] += 3.0 * torch.arange(30)  # ... but one joint, 3 px a frame
    pose[:, :, 5, :2], pose[:, :, 6, :2] = torch.tensor([-300.0, 0.0]), torch.tensor([100.0, 300.0])  # spans 500 px
    features = body_features(pose).view(1, 30, 17, 6)
    assert features[0, 10, 4, 2].item() == pytest.approx(3.0 * 3 / 500, rel=0.3)
    assert features[0, 10, 4, 4].item() == pytest.approx(features[0, 10, 4, 2].item())
    assert features[0, 10, 7, 2:5].abs().max() < 1e-5


def test_gaps_are_filled_from_the_same_joint_and_nobody_stays_nobody():
    pose = dance(1, 20)[0].numpy()
    pose[:, 3, :2] = np.arange(20)[:, None] * (2.0, -1.0)
    holed = pose.copy()
    holed[5:9, 3] = 0
    np.testing.assert_allclose(fill_missing(holed)[..., :2], pose[..., :2], atol=1e-4)
    assert (fill_missing(holed)[5:9, 3, 2] == 0).all()
    assert not fill_missing(np.zeros((20, 17, 3))).any()
    holed[:, 3] = 0
    np.testing.assert_allclose(
        fill_missing(holed)[:, 3, :2], np.delete(pose, 3, axis=1)[..., :2].mean(axis=1), rtol=1e-5
    )


@pytest.mark.parametrize("joints", [17, 25])
def test_mirror_is_its_own_inverse_and_exchanges_sides(joints):
    pose = dance(1, 4, joints)[0].numpy()
    pose[2, 3] = 0
    turned = mirrored(pose, 204)
    np.testing.assert_allclose(mirrored(turned, 204), pose, atol=1e-3)
    left, right = (5, 6) if joints == 17 else (5, 2)
    np.testing.assert_allclose(turned[0, left, 0], 203 - pose[0, right, 0], rtol=1e-5)


def test_nobody_gives_zero_features():
    nobody = torch.zeros(1, 60, 17, 3)
    assert not body_features(nobody).any()
    assert not plain_coordinates(nobody, 204, 360).any()
