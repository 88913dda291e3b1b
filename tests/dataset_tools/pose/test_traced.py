"""A traced network gives what the network gives, to the last bit, whichever thread asks and however many at once."""

import threading

import pytest
import torch
from torch import nn
from torch.nn import functional as F

from dataset_tools.pose.traced import MAX_TRACES, TracedNetwork


class Small(nn.Module):
    def __init__(self):
        super().__init__()
        self.first, self.norm, self.second = nn.Conv2d(3, 8, 3, 2), nn.BatchNorm2d(8), nn.Conv2d(8, 4, 3)
        self.calls, self.inside, self.most = 0, 0, 0

    def forward(self, x):
        self.calls += 1
        self.inside += 1
        self.most = max(self.most, self.inside)
        fine = F.relu(self.norm(self.first(x)))
        out = (
            F.interpolate(self.second(fine), size=fine.shape[2:], mode="bilinear", align_corners=True),
            fine.flatten(1),
        )
        self.inside -= 1
        return out


@pytest.fixture
def network():
    torch.manual_seed(0)
    return Small().eval()


def test_outputs_are_the_networks_for_every_size_and_every_time(network):
    traced = TracedNetwork(network)
    for _ in range(3):
        for batch, side in ((4, 33), (4, 33), (3, 33), (4, 33), (4, 49), (4, 49)):
            x = torch.randn(batch, 3, side, side)
            with torch.inference_mode():
                expected = network(x)
            assert all(torch.equal(a, b) for a, b in zip(traced(x), expected, strict=True))
    assert len(traced._programs) == 2


def test_only_sizes_that_come_twice_in_a_row_are_traced(network):
    traced = TracedNetwork(network)
    for _ in range(3):
        for side in (20, 30):
            traced(torch.zeros(1, 3, side, side))
    assert network.calls == 6 and not traced._programs
    for _ in range(2):
        for side in (40, 41):
            for _ in range(5):
                traced(torch.zeros(1, 3, side, side))
    assert network.calls == 6 + 2 * 2  # each as it is, then to be traced
    assert len(traced._programs) == 2


def test_after_many_sizes_the_network_runs_as_it_is(network):
    traced, made, trace = TracedNetwork(network), [], torch.jit.trace
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(torch.jit, "trace", lambda *args, **kwargs: made.append(1) or trace(*args, **kwargs))
        for side in range(20, 24 + MAX_TRACES):
            x = torch.randn(1, 3, side, side)
            with torch.inference_mode():
                expected = network(x)
            for _ in range(3):
                assert all(torch.equal(a, b) for a, b in zip(traced(x), expected, strict=True))
    assert len(made) == len(traced._programs) == MAX_TRACES


def test_threads_take_turns_with_as_many_threads_as_were_set(network):
    before = torch.get_num_threads()
    torch.set_num_threads(3)
    traced, found = TracedNetwork(network), []

    def work():
        for _ in range(20):
            traced(torch.zeros(1, 3, 33, 33))
            traced(torch.zeros(1, 3, 33 + len(found), 33))
        info = torch.__config__.parallel_info()
        found.append(int(info.split("omp_get_max_threads() :")[1].split()[0]))

    try:
        threads = [threading.Thread(target=work) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        torch.set_num_threads(before)
    assert found == [3] * 4 and network.most == 1
