"""The recipe of the demo's pose weights: our faster encoder and loss are OpenPifPaf's, and PCK is what it says."""

import numpy as np
import pytest
import torch

from dataset_tools.demo.train.pose.evaluation import score

torch.set_num_threads(1)


def people_of(seed: int) -> list[np.ndarray]:
    """Two people of random joints in 193 px, some beyond the border, some missing."""
    rng = np.random.default_rng(seed)
    people = rng.uniform(-15, 208, (2, 17, 3)) * (rng.random((2, 17, 1)) < 0.8)
    people[..., 2] = np.where(people[..., 0] != 0, 2, 0)
    return list(people)


def test_association_fields_are_openpifpafs():
    from openpifpaf import encoder

    from dataset_tools.demo.train.pose.samples import to_annotation
    from dataset_tools.demo.train.pose.targets import CafEncoder
    from dataset_tools.pose.net import new_network

    caf = new_network().head_metas[1]
    image = torch.zeros(3, 193, 193)
    for seed in range(3):
        annotations = [to_annotation(p) for p in people_of(seed)]
        theirs, ours = encoder.Caf(caf)(image, annotations, {}), CafEncoder(caf)(image, annotations, {})
        assert (theirs[:, 0] > 0).sum() > 100
        assert torch.allclose(theirs, ours, atol=1e-4, equal_nan=True)


def test_loss_and_gradient_are_openpifpafs():
    import openpifpaf

    from dataset_tools.demo.train.pose.loss import CompositeLoss
    from dataset_tools.demo.train.pose.samples import Batches, Pool
    from dataset_tools.pose.net import new_network

    torch.manual_seed(0)
    network = new_network().train()
    people = np.stack([people_of(k) for k in range(4)]).astype(np.float32)
    images = np.random.default_rng(1).integers(0, 256, (4, 257, 257, 3), np.uint8)
    images, targets = Batches(Pool(images=images, people=people), network.head_metas, 2, seed=0)[0]
    with torch.no_grad():
        outputs = [3 * o for o in network(images)]  # large enough to reach the clamps
    openpifpaf.network.losses.components.Scale.b = 10.0
    values, gradients = [], []
    for loss_of in (
        lambda x, t: openpifpaf.network.losses.Factory().factory(network.head_metas)(tuple(x), t)[0],
        CompositeLoss(network.head_metas),
    ):
        leaves = [o.clone().requires_grad_() for o in outputs]
        loss = loss_of([leaf * 1.0 for leaf in leaves], [t.clone() for t in targets])
        loss.backward()
        values.append(loss.item())
        gradients.append(torch.cat([leaf.grad.flatten() for leaf in leaves]))
    assert values[1] == pytest.approx(values[0], rel=1e-5)
    assert torch.allclose(gradients[0], gradients[1], rtol=1e-4, atol=1e-5)


def test_cropping_and_mirroring_move_joints_with_the_picture():
    from dataset_tools.demo.train.pose.samples import augment

    image = np.zeros((257, 257, 3), np.uint8)
    image[100:105, 150:155] = 255  # the left wrist, in the middle of (152, 102)
    person = np.zeros((6, 17, 3))
    person[0, 9] = 152, 102, 2
    joints = set()
    for seed in range(12):
        picture, people = augment(np.random.default_rng(seed), image, person, 193, (0.8, 1.0))
        if people:
            (joint,) = np.flatnonzero(people[0][:, 2])
            joints.add(int(joint))
            y, x = np.unravel_index(picture.astype(int).sum(-1).argmax(), picture.shape[:2])
            assert np.hypot(*(people[0][joint, :2] - (x, y))) < 3
    assert joints == {9, 10}  # mirrored, a left wrist is a right one


def test_a_few_steps_train_and_repeat_exactly(tmp_path, monkeypatch):
    from dataset_tools.demo import train_pose
    from dataset_tools.demo.train.pose.samples import render_pool

    monkeypatch.setattr(train_pose, "BATCH", 2)
    pool = render_pool(tmp_path, 100, seed=3, workers=1)
    assert pool.people.shape == (100, 6, 17, 3) and len(pool.images) == 100 and pool.images[99].shape == (257, 257, 3)
    finals = []
    for _ in range(2):
        network = train_pose.untrained()
        first = {k: v.clone() for k, v in network.state_dict().items()}
        train_pose.train(network, pool, 3, keep=lambda averaged, steps: finals.append((steps, averaged.state_dict())))
    assert finals[0][0] == 3
    assert any(not torch.equal(first[k], v) for k, v in finals[0][1].items())
    assert all(torch.equal(a, b) for a, b in zip(finals[0][1].values(), finals[1][1].values()))


def test_pck_counts_hits_misses_and_people_who_are_not_there():
    person = np.column_stack([np.linspace(10, 50, 17), np.linspace(0, 100, 17), np.full(17, 2.0)])
    person[3, 2] = 1  # occluded: not asked for
    found = person.copy().astype(np.float32)
    found[:, 2] = 0.9
    found[9, 0] += 11  # a wrist off by 0.11 of the height
    found[10] = 0  # the other not found
    found[7, 0] += 9
    result = score([(np.array([found, found + 300]), [person])])
    assert result["dancers_found"] == 100 and result["false_people_per_frame"] == 1
    assert result["pck@0.1"] == {
        "all": 87.5, "head": 100, "shoulder": 100, "elbow": 100, "wrist": 0, "hip": 100, "knee": 100, "ankle": 100,
    }  # fmt: skip
    assert result["pck@0.05"]["elbow"] == 50
    assert score([(np.zeros((0, 17, 3)), [person])])["pck@0.1"]["all"] == 0
