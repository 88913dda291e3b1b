"""What of a network's weights can be computed once when it is done with training: the same output, less to do each time."""

from torch import nn
from torch.nn.utils import parametrize

from d2m_model.nets.cpu.fast_convolution import FastConv1d


def fuse_for_inference(net: nn.Module) -> nn.Module:
    """Replace every normalised weight g·v/|v| in `net` by its value, transform those of large convolutions
    (`fast_convolution`), in place, and give `net` back.

    For networks that only generate: a folded one can't go on training as it did, nor load a checkpoint of training.
    """
    for module in net.modules():
        if parametrize.is_parametrized(module, "weight"):
            weight = module.weight.detach()
            parametrize.remove_parametrizations(module, "weight", leave_parametrized=True)
            # Torch leaves a weight that was not trained as a plain attribute, which .to(device) and state_dict() overlook.
            module.weight = nn.Parameter(weight, requires_grad=False)
        if isinstance(module, FastConv1d):
            module.fuse_for_inference()
    return net
