"""The networks of Foley Music: no event knows the future, distances are what they are said to be, the dance is heard of."""

import numpy as np
import pytest
import torch

from d2m_model.baselines.foley_music.events import PAD, SHIFT, VOCABULARY
from d2m_model.baselines.foley_music.net import (
    FoleyNet,
    FoleySizes,
    GraphEncoder,
    Past,
    RelativeAttention,
    relative_to_absolute,
)

SMALL = {"joints": 17, "width": 0.03, "depth": 0.34}


def net_of(**options) -> FoleyNet:
    torch.manual_seed(0)
    return FoleyNet(FoleySizes(**SMALL | options)).eval()


def dances(count: int, frames: int = 132, joints: int = 17) -> torch.Tensor:
    return torch.randn(count, frames, joints, 3, generator=torch.Generator().manual_seed(5))


def some_tokens(count: int, length: int) -> torch.Tensor:
    return torch.randint(0, 240, (count, length), generator=torch.Generator().manual_seed(6))


def test_published_sizes():
    net = FoleyNet(FoleySizes(joints=25))
    assert net.out.weight.shape == (VOCABULARY, 512) and len(net.layers) == 6
    assert [b.temporal[0].out_channels for b in net.encoder.blocks] == [64] * 4 + [128] * 3 + [256] * 3
    assert net.layers[0].forward_net[0].out_features == 1024
    assert net.layers[0].events.distance.shape == (8, 512, 64)
    with torch.no_grad():
        assert net.encoder(dances(1, joints=25)).shape == (1, 33, 512)


def test_skewing_is_a_look_up_of_distances():
    torch.manual_seed(0)
    for count, known in ((5, 5), (3, 7), (1, 4)):
        scores = torch.randn(2, count, known)
        found = relative_to_absolute(scores)
        for i in range(count):
            own = known - count + i
            for j in range(own + 1):
                assert torch.equal(found[:, i, j], scores[:, i, known - 1 - (own - j)])


def test_relative_attention_is_that_of_a_plain_loop():
    torch.manual_seed(1)
    layer = RelativeAttention(FoleySizes(**SMALL)).eval()
    layer.distance.data.normal_()
    x = torch.randn(1, 6, layer.out.in_features)
    query, (keys, values) = layer.query(x)[0], (part[0] for part in layer.known(x).chunk(2, dim=2))
    heads, limit, size = layer.distance.shape
    expected = torch.zeros(6, heads * size)
    for head in range(heads):
        part = slice(head * size, (head + 1) * size)
        for i in range(6):
            scores = torch.stack(
                [
                    query[i, part] @ (keys[j, part] + layer.distance[head, limit - 1 - (i - j)]) / size**0.5
                    for j in range(i + 1)
                ]
            )
            expected[i, part] = scores.softmax(0) @ values[: i + 1, part]
    assert torch.allclose(layer(x, {})[0], layer.out(expected), atol=1e-5)


@pytest.mark.parametrize("aided", [False, True])
def test_no_event_knows_those_after_it(aided):
    net, tokens = net_of(aided=aided), some_tokens(2, 12)
    seen = net.dance_keys(dances(2), torch.tensor([132, 132]))
    whole = net(tokens, seen)
    for at in (0, 4, 11):
        other = tokens.clone()
        other[:, at + 1 :] = some_tokens(2, 40)[:, 20 : 20 + 11 - at]
        changed = net(other, seen)
        assert torch.allclose(changed[:, : at + 1], whole[:, : at + 1], atol=1e-5)
        assert at == 11 or not torch.allclose(changed[:, at + 1 :], whole[:, at + 1 :], atol=1e-3)


@pytest.mark.parametrize("aided", [False, True])
def test_one_event_after_the_other_is_as_all_at_once(aided):
    net, tokens = net_of(aided=aided), some_tokens(3, 9)
    seen, past = net.dance_keys(dances(3), torch.tensor([132, 60, 4])), Past(len(net.layers))
    whole = net(tokens, seen)
    parts = [net(tokens[:, :4], seen, past)] + [net(tokens[:, i : i + 1], seen, past) for i in range(4, 9)]
    assert torch.allclose(torch.cat(parts, dim=1), whole, atol=1e-5)


def test_rows_that_are_picked_go_on_with_their_own_past():
    net = net_of(aided=True)
    tokens = some_tokens(2, 5)
    tokens[0, 1], tokens[1, 1] = SHIFT + 31, SHIFT + 3
    seen, past = net.dance_keys(dances(1), torch.tensor([132])), Past(len(net.layers))
    net(tokens, seen.repeated(2), past)
    past.pick(torch.tensor([1, 0, 1]))
    following = torch.tensor([[7], [8], [9]])
    found = net(following, seen.repeated(3), past)[:, 0]
    whole = torch.cat([tokens[[1, 0, 1]], following], dim=1)
    assert torch.allclose(found, net(whole, seen.repeated(3))[:, -1], atol=1e-5)


@torch.no_grad()
def test_what_comes_after_the_dance_is_not_looked_at():
    net, tokens = net_of(), some_tokens(1, 5)
    seen = net.dance_keys(dances(1), torch.tensor([60]))
    for keys, values in seen.layers:
        keys[:, :, 15:] += 3
        values[:, :, 15:] -= 3
    assert torch.allclose(net(tokens, seen), net(tokens, net.dance_keys(dances(1), torch.tensor([60]))), atol=1e-6)


def test_gradients_reach_the_graph_encoder():
    net = net_of().train()
    logits = net(some_tokens(2, 8), net.dance_keys(dances(2), torch.tensor([132, 100])))
    torch.nn.functional.cross_entropy(logits.flatten(0, 1), some_tokens(2, 8).flatten(), ignore_index=PAD).backward()
    for name, parameter in net.encoder.named_parameters():
        assert parameter.grad is not None and parameter.grad.abs().sum() > 0, name


@pytest.mark.parametrize("joints", [17, 25])
def test_a_feature_is_about_its_own_time_and_any_length_will_do(joints):
    torch.manual_seed(0)
    encoder = GraphEncoder(FoleySizes(joints=joints, width=0.1)).eval()
    still = torch.zeros(1, 400, joints, 3)
    moved = still.clone()
    moved[:, 200] = 1
    effect = (encoder(moved) - encoder(still)).norm(dim=2)[0].detach().numpy()
    assert len(effect) == 100 and abs(int(np.argmax(effect)) - 50) <= 3
    assert effect[:20].max() == 0 == effect[80:].max()  # ten kernels of 9 reach 84 frames either way
    assert encoder(still[:, :131]).shape[1] == 33


def test_an_event_is_shown_the_dance_of_its_time():
    keys = net_of().dance_keys(dances(1), torch.tensor([132]))
    found = keys.at(torch.tensor([[0.0, 4 / 22, 6 / 22, 100.0]]))[0]
    first, second, third = keys.features[0, :3]
    expected = torch.stack([first, second, (second + third) / 2, keys.features[0, -1]])
    assert torch.allclose(found, expected, atol=1e-5)


def test_velocities_are_what_aids_the_encoder():
    torch.manual_seed(0)
    encoder = GraphEncoder(FoleySizes(joints=17, width=0.1, aided=True))
    assert encoder.blocks[0].spatial.in_channels == 5
    caught = []
    encoder.norm.register_forward_pre_hook(lambda _, given: caught.append(given[0]))
    pose = dances(1, 8)
    encoder(pose)
    given = caught[0].unflatten(1, (17, 5))  # (B, J, C, T)
    assert torch.allclose(given[0, 3, 3, 1:-1], pose[0, 2:, 3, 0] - pose[0, :-2, 3, 0])
    assert torch.allclose(given[0, 3, 4, 0], pose[0, 1, 3, 1] - pose[0, 0, 3, 1])
    assert torch.equal(given[0, :, :3], pose[0].permute(1, 2, 0))
