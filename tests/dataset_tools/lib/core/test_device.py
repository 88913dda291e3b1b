"""A stage computes on the CPU unless it is given a share of a GPU, and then there must be one."""

import pytest
import torch

from dataset_tools.lib.core.device import choose_device
from dataset_tools.lib.core.errors import UserError


def test_the_device():
    assert choose_device(0) == "cpu"
    if torch.cuda.is_available():
        assert choose_device(0.5) == "cuda"
    else:
        with pytest.raises(UserError, match=r"gpus is 0.5, but torch finds no GPU on the machine .*; set gpus to 0"):
            choose_device(0.5)
