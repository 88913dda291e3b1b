"""Learning-rate schedules: each gives the factor of the learning rate at a step, which `training/loop.py` applies by LambdaLR."""

import math


def warm_up_and_cosine(number: int, steps: int, *, warm_up: int, last: float) -> float:
    """Linear rise over the first `warm_up` steps (0: none), times a cosine decay from 1 at step 0 to `last` at step `steps`."""
    rise = min(1.0, (number + 1) / max(1, warm_up))
    return rise * (last + (1 - last) * 0.5 * (1 + math.cos(math.pi * number / steps)))


def late_cosine(number: int, steps: int) -> float:
    """Linear rise over the first 20 steps, then 1, then a cosine decay to 0.02 in the second half of `steps`."""
    falling = max(0.0, 2 * number / steps - 1)
    return min(1.0, (number + 1) / 20) * (0.51 + 0.49 * math.cos(math.pi * falling))


def noam(number: int, width: int, published: int, warm_up: int) -> float:
    """The learning rate itself (Vaswani et al. 2017, section 5.3) of a network of `width`, with the peak of a warm-up of `published`
    steps, but reached after `warm_up` steps."""
    peak = (width * published) ** -0.5
    return peak * min((number + 1) / warm_up, (warm_up / (number + 1)) ** 0.5)
