"""A balancer of losses (Défossez et al., "High Fidelity Neural Audio Compression", 2022, section 3.4).

A λ weights the value of a loss, but gradients train the network. At the generated codes, the gradients of the discriminators and
the decoder are orders of magnitude larger than the gradient of the code loss and drown it. Here a λ is a share of the step:
every term's gradient is scaled to the norm of the code term's gradient before it is weighted.
"""

from collections.abc import Sequence

import torch

from d2m_model.training.distributed import sum_over_processes, world_size


def balanced_gradient(
    terms: dict[str, torch.Tensor],
    weights: dict[str, float],
    at: torch.Tensor,
    others: Sequence[torch.Tensor],
    anchor: str = "code",
) -> tuple[torch.Tensor, list[torch.Tensor | None]]:
    """Returns (the balanced gradient at `at`, the gradients of the anchor term at `others`).

    terms : name -> scalar computed from `at`, a leaf. weights : name -> λ. others : parameters that only the anchor term
    trains; the gradient of one that it does not reach is None. A term whose gradient is zero everywhere adds nothing. With
    several processes each has its own rows of `at`; the norms are those of the whole batch.
    """
    main, *found = torch.autograd.grad(terms[anchor], [at, *others], retain_graph=True, allow_unused=True)
    size, step = _norm(main), weights[anchor] * main
    for name, term in terms.items():
        if name != anchor:
            (gradient,) = torch.autograd.grad(term, at, retain_graph=True)
            step = step + weights[name] * gradient * size / _norm(gradient).clamp(min=1e-12)
    rest: list[torch.Tensor | None] = list(found)
    return step, rest


def _norm(gradient: torch.Tensor) -> torch.Tensor:
    """Norm of a gradient whose rows may be distributed over processes."""
    return gradient.norm() if world_size() == 1 else sum_over_processes(gradient.square().sum()).sqrt()
