"""OpenPifPaf's composite loss, computed faster by gathering its foreground cells once, with the same value and gradient.

The terms are those of Kreiss, Bertoni and Alahi: OpenPifPaf (T-ITS 2021), with the settings of release 0.13: a focal,
uncertainty-weighted confidence term, a Laplace location term, and a term for the sizes of joints.
"""

import torch
from openpifpaf import headmeta
from torch import Tensor
from torch.nn import functional as F

SOFT_CLAMP = 5.0
LOG_2 = 0.69314  # as many digits as OpenPifPaf writes


class CompositeLoss:
    """loss(outputs, targets) -> scalar, summed over heads and terms, per sample of the batch.

    outputs: one (B, fields, components, H, W) for each head in training mode. targets: of the encoders.
    scale_width: Laplace width of the size term; with 10 the sizes do not dominate the locations of joints.
    """

    def __init__(self, metas: list[headmeta.Base], scale_width: float = 10.0):
        self.metas = metas
        self.scale_width = scale_width

    def __call__(self, outputs: tuple[Tensor, ...], targets: list[Tensor]) -> Tensor:
        """Loss of the heads' outputs for their targets, per image."""
        per_head = [self._head(x, t, meta) for x, t, meta in zip(outputs, targets, self.metas, strict=True)]
        return torch.stack(per_head).sum() / outputs[0].shape[0]

    def _head(self, x: Tensor, target: Tensor, meta: headmeta.Base) -> Tensor:
        vectors, scales = meta.n_vectors, meta.n_scales
        weight = x.new_tensor(meta.training_weights or [1.0] * meta.n_fields)

        background = _focal(x[:, :, 1], -1.0) * (target[:, :, 0] == 0) * weight[None, :, None, None]

        sample, field, row, column = torch.nonzero(target[:, :, 0] > 0, as_tuple=True)
        x, target, weight = x[sample, field, :, row, column], target[sample, field, :, row, column], weight[field]
        log_variance = 3.0 * torch.tanh(x[:, 0] / 3.0)
        total = _focal(x[:, 1], 1.0) * torch.exp(-log_variance) + log_variance
        total = background.sum() + (0.5 * weight * total).sum()

        log_width = 0.5 * log_variance + LOG_2
        for v in range(vectors):
            # components: 0 log variance, 1 confidence, then x, y of each vector, then a size of each
            miss = x[:, 2 + 2 * v : 4 + 2 * v] - target[:, 1 + 2 * v : 3 + 2 * v]
            least = target[:, 1 + 2 * vectors + v]
            size = target[:, 1 + 3 * vectors + v]
            size = torch.where(size.isnan(), F.softplus(x[:, 2 + 2 * vectors + v].detach()), size)
            distance = torch.sqrt((miss**2).sum(1) + least**2)
            total = total + (weight * (_soft_clamp(distance / (0.5 * size)) * torch.exp(-log_width) + log_width)).sum()
        for s in range(scales):
            size = target[:, 1 + 3 * vectors + s]
            known = size.isfinite()
            miss = (F.softplus(x[known, 2 + 2 * vectors + s]) - size[known]).abs()
            miss = _soft_clamp(miss / (self.scale_width * (0.1 + size[known])))
            total = total + (weight[known] * torch.where(miss < 1, 0.5 * miss**2, miss - 0.5)).sum()
        return total


def _focal(logit: Tensor, sign: float) -> Tensor:
    """Half the squared step towards `sign`, whose gradient is the focal cross-entropy's (gamma 1, alpha 0.5)."""
    fixed = logit.detach()
    wrong = torch.sigmoid(-sign * fixed)
    step = sign * wrong * 0.5 * (wrong + (1 - wrong) * F.softplus(-sign * fixed))
    return F.smooth_l1_loss(logit, fixed + step, reduction="none")


def _soft_clamp(x: Tensor) -> Tensor:
    """Logarithmic growth beyond SOFT_CLAMP."""
    return torch.where(x > SOFT_CLAMP, SOFT_CLAMP + torch.log((1 - SOFT_CLAMP + x).clamp(min=1.0)), x)
