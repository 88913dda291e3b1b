"""A balancer of losses (Défossez et al., "High Fidelity Neural Audio Compression", 2022, section 3.4).

A λ weighs a loss's value, but what trains is its gradient: on codes, the discriminators' and the decoder's gradients are
orders of magnitude above that of the code loss, whose signal then drowns. Here a λ is the share of the step instead:
every term's gradient at the generated codes is brought to the norm of the code term's before it is weighted.
"""

import torch


def balanced_gradient(
    terms: dict[str, torch.Tensor], weights: dict[str, float], at: torch.Tensor, others: list[torch.Tensor], anchor: str = "code"
) -> tuple[torch.Tensor, list[torch.Tensor | None]]:
    """(gradient at `at`, gradients of the anchor term at `others`).

    terms : name -> scalar computed from `at`, a leaf. weights : name -> λ. others : parameters that only the anchor term
    trains (None where it does not reach one). A term whose gradient is zero everywhere adds nothing.
    """
    main, *rest = torch.autograd.grad(terms[anchor], [at, *others], retain_graph=True, allow_unused=True)
    size, total = main.norm(), weights[anchor] * main
    for name, term in terms.items():
        if name != anchor:
            (gradient,) = torch.autograd.grad(term, at, retain_graph=True)
            total = total + weights[name] * gradient * size / gradient.norm().clamp(min=1e-12)
    return total, rest
