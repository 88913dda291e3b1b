"""A balancer of losses (Défossez et al., "High Fidelity Neural Audio Compression", 2022, section 3.4).

A λ weighs a loss's value, but what trains is its gradient: on codes, the discriminators' and the decoder's gradients are
orders of magnitude above that of the code loss, whose signal then drowns. Here a λ is the share of the step instead:
every term's gradient at the generated codes is brought to the norm of the code term's before it is weighted.
"""

import torch

from d2m_model.training.distributed import total, world


def balanced_gradient(
    terms: dict[str, torch.Tensor],
    weights: dict[str, float],
    at: torch.Tensor,
    others: list[torch.Tensor],
    anchor: str = "code",
) -> tuple[torch.Tensor, list[torch.Tensor | None]]:
    """(gradient at `at`, gradients of the anchor term at `others`).

    terms : name -> scalar computed from `at`, a leaf. weights : name -> λ. others : parameters that only the anchor term
    trains (None where it does not reach one). A term whose gradient is zero everywhere adds nothing. Of several processes
    each has its own rows of `at`; the norms are those of the whole batch.
    """
    main, *rest = torch.autograd.grad(terms[anchor], [at, *others], retain_graph=True, allow_unused=True)
    size, step = _norm(main), weights[anchor] * main
    for name, term in terms.items():
        if name != anchor:
            (gradient,) = torch.autograd.grad(term, at, retain_graph=True)
            step = step + weights[name] * gradient * size / _norm(gradient).clamp(min=1e-12)
    return step, rest


def _norm(gradient: torch.Tensor) -> torch.Tensor:
    """Length of a gradient whose rows may be spread over processes."""
    return gradient.norm() if world() == 1 else total(gradient.square().sum()).sqrt()
