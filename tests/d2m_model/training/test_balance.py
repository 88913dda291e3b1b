"""The balancer: a λ is a share of the gradient, however large a term's own gradient is."""

import torch

from d2m_model.training.balance import balanced_gradient


def test_a_huge_term_gets_its_share_only():
    at = torch.tensor([1.0, 2.0], requires_grad=True)
    sharp = torch.tensor(3.0, requires_grad=True)
    terms = {"code": sharp * at[0], "adversarial": 1e6 * at[1]}
    gradient, rest = balanced_gradient(terms, {"code": 1.0, "adversarial": 0.1}, at, [sharp])
    assert torch.allclose(gradient, torch.tensor([3.0, 0.3]))
    assert rest[0].item() == 1.0


def test_a_term_without_gradient_adds_nothing():
    at = torch.tensor([1.0], requires_grad=True)
    gradient, _ = balanced_gradient({"code": 2 * at.sum(), "mel": 0 * at.sum()}, {"code": 1.0, "mel": 5.0}, at, [])
    assert torch.equal(gradient, torch.tensor([2.0]))
