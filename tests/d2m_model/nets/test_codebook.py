"""The codebook: nearest entries, the gradient past them, moving averages by hand, restarts."""

import pytest
import torch

from d2m_model.nets.codebook import Codebook
from d2m_model.training.seeding import generator


def book_of(entries, **options) -> Codebook:
    k = torch.tensor(entries)
    book = Codebook(*k.shape, **options)
    book.k.copy_(k)
    return book


def test_nearest_entry_and_its_vector():
    book = book_of([[0.0, 0.0], [1.0, 0.0], [0.0, 3.0]])
    z = torch.tensor([[[0.9, 0.1, 0.2], [0.2, 2.0, 0.3]]])  # (1, 2, 3): columns are vectors
    quantised = book(z)
    assert quantised.codes.tolist() == [[1, 2, 0]]
    assert torch.allclose(quantised.vectors, torch.tensor([[[1.0, 0.0, 0.0], [0.0, 3.0, 0.0]]]))
    assert torch.equal(book.embed(quantised.codes), torch.tensor([[[1.0, 0.0, 0.0], [0.0, 3.0, 0.0]]]))
    # squared differences: .01 .04 | .01 1 | .04 .09
    assert quantised.commit.item() == pytest.approx((0.01 + 0.04 + 0.01 + 1.0 + 0.04 + 0.09) / 6)


def test_gradient_passes_straight_through_and_commitment_pulls_to_the_entry():
    book = book_of([[0.0, 0.0], [1.0, 1.0]])
    z = torch.tensor([[[0.8], [0.9]]], requires_grad=True)
    (book(z).vectors * torch.tensor([[[3.0], [5.0]]])).sum().backward()
    assert z.grad.flatten().tolist() == [3.0, 5.0]
    z.grad = None
    book(z).commit.backward()
    assert torch.allclose(z.grad.flatten(), torch.tensor([-0.2, -0.1]))  # d mean((z - k)^2) / dz = 2 (z - k) / 2
    assert not book.k.requires_grad


def test_moving_average_by_hand():
    book = book_of([[0.0], [10.0]], decay=0.9, dead_code_threshold=0.5)
    book.load_learning_state({"k_sum": torch.tensor([[0.0], [20.0]]), "k_elem": torch.tensor([2.0, 2.0])})
    z = torch.tensor([[[1.0, 2.0, 3.0, 12.0]]])
    codes = book(z).codes
    assert codes.tolist() == [[0, 0, 0, 1]]
    usage = book.update_entries(z, codes, generator(0))
    # counts 3 and 1: k_elem = .9 * 2 + .1 * n; sums 6 and 12: k_sum = .9 * old + .1 * sum
    assert torch.allclose(book.k_elem, torch.tensor([2.1, 1.9]))
    assert torch.allclose(book.k_sum, torch.tensor([[0.6], [19.2]]))
    assert torch.allclose(book.k, torch.tensor([[0.6 / 2.1], [19.2 / 1.9]]))
    assert usage["used"] == 2 and usage["revived"] == 0
    assert usage["entropy"].item() == pytest.approx(
        -(0.75 * torch.tensor(0.75).log() + 0.25 * torch.tensor(0.25).log()).item()
    )


def test_an_entry_without_vectors_restarts_on_one_of_the_batch_and_keeps_its_averages():
    book = book_of([[0.0], [100.0]], decay=0.5, dead_code_threshold=1.0)
    book.load_learning_state({"k_sum": torch.tensor([[0.0], [100.0]]), "k_elem": torch.tensor([4.0, 1.0])})
    z = torch.tensor([[[0.5, 0.25, -0.5, -0.25]]])
    usage = book.update_entries(z, book(z).codes, generator(3))
    assert usage["revived"] == 1
    assert book.k[1].item() in z.flatten().tolist()
    assert book.k_elem[1].item() == 0.5 and book.k_sum[1].item() == 50.0


def test_start_takes_rows_of_the_batch_and_repeats_them_with_noise_when_there_are_too_few():
    z = torch.randn(2, 4, 50, generator=generator(1))
    rows = {tuple(r) for r in z.transpose(1, 2).reshape(-1, 4).tolist()}
    book = Codebook(32, 4)
    book.initialise(z, generator(2))
    assert len({tuple(k) for k in book.k.tolist()} & rows) == 32 and torch.equal(book.k_elem, torch.ones(32))
    few = Codebook(32, 4)
    few.initialise(z[:1, :, :5], generator(2))
    distances = torch.cdist(few.k, z[0, :, :5].T).min(1).values
    assert len({tuple(k) for k in few.k.tolist()}) == 32 and distances.max() < 0.05


def test_learning_finds_the_clusters_of_the_data():
    centres = torch.tensor([[5.0, 0.0], [0.0, 5.0], [-5.0, 0.0], [0.0, -5.0]])
    book = Codebook(16, 2, decay=0.9, dead_code_threshold=0.5)
    for step in range(60):
        rng = generator("data", step)
        picks = torch.randint(0, 4, (64,), generator=rng)
        z = (centres[picks] + 0.1 * torch.randn(64, 2, generator=rng)).T[None]
        if step == 0:
            book.initialise(z, generator(0))
        book.update_entries(z, book(z).codes, generator("revive", step))
    assert torch.cdist(centres, book.k).min(1).values.max() < 0.3


def test_restore_learning_keeps_the_entries():
    book = book_of([[1.0, 2.0], [3.0, 4.0]])
    book.restore_averages(tokens=8)
    assert torch.equal(book.k_elem, torch.tensor([4.0, 4.0])) and torch.equal(book.k_sum / book.k_elem[:, None], book.k)
    assert list(book.state_dict()) == ["k"]
