"""The prior's steps in numpy: equal to the network, up to rounding, within and across contexts."""

import numpy as np
import pytest
import torch

from d2m_model.nets.cpu.switch import plain_torch
from d2m_model.prior.cpu_steps import CpuSteps
from d2m_model.prior.net import RHYTHM, Cache, PriorNet, PriorSizes
from d2m_model.prior.sampling import Draw, sample

SIZES = PriorSizes(
    bins=11, patch=3, width=24, depth=3, heads=2, context=9, local_width=20, embedding=8, style=5, upper=2
)


@pytest.fixture(scope="module")
def net():
    torch.manual_seed(3)
    made = PriorNet(SIZES).eval()
    with torch.no_grad():
        for name, value in made.named_parameters():
            if "norm" in name or "before" in name or "between" in name:
                value += 0.3 * torch.randn_like(value)  # else gains are 1 and biases 0
    return made


@torch.inference_mode()
def test_steps_equal_the_network(net):
    rng = torch.Generator().manual_seed(0)
    count = SIZES.context
    codes = torch.randint(SIZES.bins + 1, (SIZES.seen + count * SIZES.patch,), generator=rng)
    rhythm = torch.rand(2, count * SIZES.patch, RHYTHM, generator=rng)
    condition = torch.randn(2, count, SIZES.width, generator=rng)
    patches = codes[SIZES.seen - SIZES.patch : -SIZES.patch].view(1, count, SIZES.patch).expand(2, -1, -1)
    expected = net.through(patches, condition)
    spread = net.within.spread(expected, rhythm)

    steps, caches = CpuSteps(net), [Cache(count) for _ in net.blocks]
    steps.prepare(condition, rhythm)
    first = net.through(patches[:, :2], condition[:, :2], caches)  # the caches are filled by torch, and then by numpy
    torch.testing.assert_close(first, expected[:, :2])
    for t in range(2, count):
        h = steps.through(patches[0, t].numpy(), caches)
        np.testing.assert_allclose(h, expected[:, t], atol=2e-5)
        np.testing.assert_allclose(steps.spread(h, t), spread[:, t * SIZES.patch : (t + 1) * SIZES.patch], atol=5e-5)
        behind = codes[t : t + SIZES.seen]
        scores = net.within.scores(spread[:, t], net.code(behind).flatten().expand(2, -1))
        np.testing.assert_allclose(steps.scores(spread[:, t].numpy(), behind.numpy()), scores, atol=5e-5)
    assert all(cache.length == count for cache in caches)


@pytest.mark.parametrize("guidance", [1.0, 2.5])
@pytest.mark.parametrize("known", [0, 40])
def test_sampling_draws_what_the_network_scores(net, monkeypatch, guidance, known):
    """Over several contexts. Each code is what the network's own scores give for the same uniform number, except for rounding."""
    from d2m_model.prior import sampling

    rng = torch.Generator().manual_seed(1)
    count = 4 * SIZES.context * SIZES.patch + 1
    rhythm, style = torch.rand(count, RHYTHM, generator=rng), torch.randn(SIZES.style, generator=rng)
    upper = torch.randint(SIZES.bins, (2 * (count // SIZES.patch + 1),), generator=rng)
    kept = torch.randint(SIZES.bins, (known,), generator=rng)
    drawn: dict[bool, list] = {True: [], False: []}
    choose, plain = sampling._sample_code, False

    def noted(scores, uniform, draw):
        drawn[plain].append(np.array(scores))
        return choose(drawn[False][len(drawn[plain]) - 1], uniform, draw)  # both continue with the same code

    monkeypatch.setattr(sampling, "_sample_code", noted)
    draws = [net, rhythm, style, Draw(guidance=guidance)]
    own = sample(*draws, torch.Generator().manual_seed(5), upper=upper, kept=kept)
    with plain_torch():
        plain = True
        again = sample(*draws, torch.Generator().manual_seed(5), upper=upper, kept=kept)
    assert torch.equal(own, again) and torch.equal(own[:known], kept) and len(own) == count
    assert len(drawn[True]) == len(drawn[False]) >= count - known
    for numpy_scores, torch_scores in zip(drawn[False], drawn[True], strict=True):
        np.testing.assert_allclose(numpy_scores, torch_scores, atol=1e-4)
