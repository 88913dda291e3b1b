"""Small I3D networks for the tests whose features carry signal, though their weights are random."""

import torch
from torch.nn import functional as F

from dataset_tools.i3d.net import I3D


def lively(channels: int, width: float = 0.05, classes: int = 3, seed: int = 0) -> I3D:
    """Random network in evaluation mode whose batch norms know the statistics of smooth noise: untrained ones would
    let the signal fade to nothing over 22 layers, and a test of its features would compare zeros."""
    torch.manual_seed(seed)
    net = I3D(channels, width, classes).train()
    norms = [module for module in net.modules() if isinstance(module, torch.nn.BatchNorm3d)]
    for norm in norms:
        norm.momentum = 1.0
    coarse = torch.rand(2, channels, 4, 8, 8) * 2 - 1
    with torch.no_grad():
        net.features(F.interpolate(coarse, size=(16, 64, 64), mode="trilinear"))
    for norm in norms:
        norm.momentum = 0.1
    return net.eval()
