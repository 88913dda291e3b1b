"""Weight normalisation taken out of a network that is done with training: the same output, less to compute each time."""

from torch import nn
from torch.nn.utils import parametrize


def fold(net: nn.Module) -> nn.Module:
    """Replace every normalised weight g·v/|v| in `net` by its value, in place, and give `net` back.

    For networks that only generate: a folded one can't go on training as it did, nor load a checkpoint of training.
    """
    for module in net.modules():
        if parametrize.is_parametrized(module, "weight"):
            weight = module.weight.detach()
            parametrize.remove_parametrizations(module, "weight", leave_parametrized=True)
            # Torch leaves a weight that was not trained as a plain attribute, which .to(device) and state_dict() overlook.
            module.weight = nn.Parameter(weight, requires_grad=False)
    return net
