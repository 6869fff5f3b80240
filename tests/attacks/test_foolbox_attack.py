"""Carlini and Wagner, EAD and the boundary attack: against foolbox's own, and against hand-solved classifiers."""

import foolbox
import pytest
import torch
from torch import nn

import dovision as dv
from dovision.attacks._objective import Objective
from dovision.functional.norms import size
from dovision.functional.rng import generator
from made_batches import batch_of

PEERS = foolbox.attacks
GREY = torch.full((5, 1, 4, 4), 0.5)
FAR = 4.0  # an epsilon beyond all that is needed


def carlini_wagner(eps=FAR, target=None, **settings):
    return dv.FoolboxAttack("L2CarliniWagnerAttack", eps, settings, alone=False, target=target)


def ead(eps=FAR, target=None, **settings):
    return dv.FoolboxAttack("EADAttack", eps, settings, alone=False, target=target)


def boundary(eps=FAR, target=None, seed=0, **settings):
    steps = {"spherical_step": 0.1, "source_step": 0.01}
    return dv.FoolboxAttack("BoundaryAttack", eps, steps | settings, target=target, seed=seed)


def direct(peer: PEERS.base.MinimizationAttack, batch: dv.Batch, classifier: dv.Classifier, eps: float) -> torch.Tensor:
    model = foolbox.PyTorchModel(classifier, bounds=(0, 1))
    return peer(model, batch.image, foolbox.criteria.Misclassification(batch.label), epsilons=eps)[1]


@pytest.mark.parametrize(("eps", "abort"), [(0.4, {}), (FAR, {}), (FAR, {"abort_early": True})])
def test_carlini_wagner_equals_foolbox(eps, abort, trained, digits):
    right = digits.rows((trained[0](digits.image).argmax(1) == digits.label).nonzero().squeeze(1)[:10])
    settings = {"steps": 30, "binary_search_steps": 4, "stepsize": 0.1, **abort}
    theirs = PEERS.L2CarliniWagnerAttack(**{"abort_early": False, **settings})
    expected = direct(theirs, right, trained[0], eps)
    torch.testing.assert_close(carlini_wagner(**settings)(right, trained[0], eps), expected, rtol=0, atol=1e-4)


@pytest.mark.parametrize("confidence", [0.0, 2.0])
def test_ead_equals_foolbox(confidence, trained, digits):
    right = digits.rows((trained[0](digits.image).argmax(1) == digits.label).nonzero().squeeze(1)[:10])
    settings = {"steps": 30, "confidence": confidence}
    theirs = PEERS.EADAttack(4, initial_stepsize=0.1, decision_rule="L1", abort_early=False, **settings)
    ours = ead(64.0, binary_search_steps=4, initial_stepsize=0.1, **settings)(right, trained[0])
    expected = direct(theirs, right, trained[0], 64.0)
    found = expected.flatten(1).any(1)
    assert found.sum() > 5
    torch.testing.assert_close(ours[found], expected[found], rtol=0, atol=1e-4)
    assert torch.equal(ours[~found], right.image[~found])


def test_the_boundary_attack_equals_foolbox_with_the_same_random_state(trained, digits):
    right = digits.rows((trained[0](digits.image).argmax(1) == digits.label).nonzero().squeeze(1)[:3])
    theirs, expected = PEERS.BoundaryAttack(steps=30, spherical_step=0.1, source_step=0.01), []
    for row in range(3):
        alone = right.rows([row])
        torch.manual_seed(generator(7, int(alone.sample)).initial_seed())
        expected.append(direct(theirs, alone, trained[0], FAR))
    ours = boundary(steps=30, seed=7)(right, trained[0], FAR)
    torch.testing.assert_close(ours, torch.cat(expected), rtol=0, atol=1e-5)


def test_the_boundary_attack_leaves_torchs_random_state_alone(trained, digits):
    torch.manual_seed(3)
    expected = torch.rand(4)
    torch.manual_seed(3)
    boundary(steps=2)(digits.rows([0, 1]), trained[0], FAR)
    assert torch.equal(torch.rand(4), expected)


def linear(rows: int, task: str, thresholds: tuple[float, ...] = ()) -> tuple[dv.Classifier, torch.Tensor]:
    """Logits weight * (image - 0.5) + bias, and the weight, shape (rows, 16)."""
    layer = nn.Linear(16, rows)
    random = torch.Generator().manual_seed(5)
    layer.weight.data = torch.randn(rows, 16, generator=random)
    layer.bias.data = torch.randn(rows, generator=random)
    names = tuple("abcdefgh"[:rows])
    classifier = dv.Classifier(
        nn.Sequential(nn.Flatten(), layer), dv.Task(task, names, thresholds), (0.5,), (1.0,)
    ).eval()
    return classifier, layer.weight.detach()


EXACT = {
    "carlini wagner": (
        lambda target: carlini_wagner(target=target, steps=100, binary_search_steps=7, stepsize=0.03),
        0.05,
    ),
    "boundary": (lambda target: boundary(steps=500, target=target), 0.1),
}


@pytest.mark.parametrize("target", [None, "a", "d"])
@pytest.mark.parametrize("name", EXACT)
def test_a_wrong_label_of_several_is_found_or_that_of_the_target(name, target):
    make, tolerance = EXACT[name]
    attack, (classifier, weight) = make(target), linear(4, "multilabel", thresholds=(0.3, 0.5, 0.5, 0.6))
    answers = classifier.task.prediction(classifier.task.probability(classifier(GREY[:1]))).float()
    answers[0, 1] = torch.nan  # not known, and so never wrong
    lead = Objective(dv.margin, None).leads(classifier(GREY[:1]), answers, classifier.task)[0].detach()
    far = (lead.abs() / weight.norm(p=1 if attack.norm == "linf" else 2, dim=1)).tolist()  # from hyperplanes
    chosen = far[:1] + far[2:] if target is None else [far["abcd".index(target)]]
    found = attack(batch_of(GREY[:1], answers), classifier, attack.eps[0])
    assert Objective(dv.margin, target).reached(classifier(found), answers, classifier.task).all()
    assert any(size(found - GREY[:1], attack.norm).item() == pytest.approx(one, rel=tolerance) for one in chosen)


def test_an_image_out_of_budget_is_moved_as_far_towards_the_nearest_as_epsilon_allows():
    classifier, _ = linear(2, "multiclass")
    batch = batch_of(GREY[:1], classifier(GREY[:1]).argmax(1))
    attack = carlini_wagner([0.01, FAR], steps=50)
    near, far = (attack(batch, classifier, eps) - GREY[:1] for eps in attack.eps)
    torch.testing.assert_close(size(near, "l2"), torch.tensor([0.01]))
    torch.testing.assert_close(near / 0.01, far / size(far, "l2"))


class Stubborn(nn.Module):
    """A network that always says the same, whatever it is shown."""

    def forward(self, image: torch.Tensor) -> torch.Tensor:
        return torch.tensor([[5.0, 0.0]]).repeat(len(image), 1) + 0 * image.flatten(1)[:, :2]


@pytest.mark.filterwarnings("ignore:LinearSearchBlendedUniformNoiseAttack failed to draw")
@pytest.mark.parametrize("make", [carlini_wagner, ead, boundary])
def test_an_image_stays_as_it_is_where_nothing_is_found_or_nothing_is_to_be_done(make):
    classifier = dv.Classifier(Stubborn(), dv.Task("multiclass", ("yes", "no")), (0.0,), (1.0,))
    batch = batch_of(GREY[:2] + 0.01, torch.tensor([0, 1]))  # never wrong, and wrong already
    assert torch.equal(make(0.5, steps=10)(batch, classifier, 0.5), batch.image)


def test_an_object_of_foolbox_is_an_attack_with_its_norm():
    classifier, digits = dv.example()
    attacked = dv.attack(classifier, digits, PEERS.L2DeepFoolAttack(), eps=FAR, progress=False)
    theirs = direct(PEERS.L2DeepFoolAttack(), digits, classifier, FAR)
    torch.testing.assert_close(attacked.images(), theirs, rtol=0, atol=1e-4)
    assert (attacked.norm, dv.FoolboxAttack("LinfDeepFoolAttack", 0.1).norm) == ("l2", "linf")
    for call, message in (
        (lambda: dv.FoolboxAttack("DeepFool", 0.1), "method must be one of .*, got 'DeepFool'"),
        (lambda: dv.FoolboxAttack("EADAttack", 0.1, {"stepsize": 1}), "settings of EADAttack must be one of"),
        (lambda: dv.attack(classifier, digits, PEERS.DDNAttack), "eps must be given with DDNAttack, got none"),
    ):
        with pytest.raises(ValueError, match=message):
            call()


def test_a_class_is_made_as_it_is_and_settings_beside_an_object_are_refused():
    class Own(PEERS.L2CarliniWagnerAttack):
        pass

    Own.__name__ = "L2CarliniWagnerAttack"
    assert type(dv.FoolboxAttack(Own, 0.5, {"steps": 3}).peer) is Own
    with pytest.raises(ValueError, match=r"settings must be those of the object\. Give its class"):
        dv.FoolboxAttack(PEERS.L2CarliniWagnerAttack(), 0.5, {"steps": 3})
    with pytest.raises(ValueError, match=r"stepsize must be at least 0, got -1\.0"):
        dv.FoolboxAttack("L2CarliniWagnerAttack", 0.5, {"stepsize": -1.0})
