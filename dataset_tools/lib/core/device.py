"""On which device a stage's networks compute."""

import os

from dataset_tools.lib.core.errors import UserError


def choose_device(gpus: float) -> str:
    """'cuda' if a process has a share of a GPU, else 'cpu'. Raises UserError if it should have one and torch finds none."""
    if not gpus:
        return "cpu"
    import torch

    if not torch.cuda.is_available():
        raise UserError(
            f"gpus is {gpus:g}, but torch finds no GPU on the machine {os.uname().nodename}; set gpus to 0 in params.yaml"
        )
    return "cuda"
