"""Effects on one image: the numbers of the notebook and of the commands, from clean values that are kept."""

import pytest
import torch

import dovision as dv
from dovision.view.image_effects import ImageEffects, class_rows


@pytest.fixture(scope="module")
def shown():
    """The first digit of the example in front of its classifier."""
    classifier, digits = dv.example()
    return ImageEffects(classifier, digits.rows(slice(0, 1)))


def rectangle(top, left, bottom, right):
    mask = torch.zeros(8, 8, dtype=torch.bool)
    mask[top:bottom, left:right] = True
    return mask


@pytest.mark.parametrize("scripted", [False, True])
def test_an_attack_pauses_before_its_passes_and_a_brush_then_has_the_same_effect(scripted, shown):
    layers = (torch.nn.Conv2d(1, 4, 3), torch.nn.BatchNorm2d(4), torch.nn.ReLU(inplace=True), torch.nn.Flatten())
    network = torch.nn.Sequential(*layers, torch.nn.Linear(144, 10)).eval()
    network = torch.jit.trace(network, torch.zeros(1, 1, 8, 8)) if scripted else network
    classifier, attack = dv.Classifier(network, shown.task, mean=[0.5], std=[0.5]), dv.PGD(eps="8/255", steps=2)
    effects, brush, brushed = ImageEffects(classifier, shown.batch), dv.Brush(rectangle(2, 4, 4, 8), dv.Mean()), []

    def pause():  # as the worker's, which does nothing within itself
        if not classifier.busy:
            classifier.busy = True
            brushed.append(effects.effect(brush).treated)
            classifier.busy = False

    classifier.busy = False
    attacked = effects.attacked(attack, pause)
    assert torch.equal(attacked.batch.image, attack(shown.batch, classifier))
    assert len(brushed) == 2
    assert all(torch.equal(treated, effects.effect(brush).treated) for treated in brushed)
    assert not classifier._forward_pre_hooks


def test_what_a_pause_raises_ends_the_attack(shown):
    def pause():
        raise KeyError("another attack")

    with pytest.raises(KeyError, match="another attack"):
        shown.attacked(dv.FGSM(eps="8/255"), pause)
    assert not shown.classifier._forward_pre_hooks
    assert all(parameter.requires_grad for parameter in shown.classifier.parameters())


def test_an_image_without_a_label_is_attacked_away_from_what_is_predicted():
    classifier, digits = dv.example()
    batch = digits.rows(slice(0, 1))._replace(label=torch.tensor([-1]))
    assert ImageEffects(classifier, batch).batch.label.tolist() == [1]


def test_the_rows_have_the_predicted_class_first_and_all_that_matters_after_the_edit():
    task = dv.Task("multiclass", tuple("abcdefgh"))
    control, treated = torch.tensor([5.0, 4, 3, 2, 1, 0, 0, 0]), torch.tensor([0.0, 4, 3, 2, 1, 0, 9, 0])
    rows = class_rows(task, control, treated, shown=7)
    assert [row.name for row in rows] == ["a", "b", "c", "d", "e", "g", "h"]
    probability = treated.softmax(0) - control.softmax(0)
    assert rows[0].effect == pytest.approx(float(probability[0]), abs=1e-6)
    odds = task.log_odds(treated) - task.log_odds(control)
    assert rows[5].log_odds_effect == pytest.approx(float(odds[6]), abs=1e-5)


def test_an_image_out_of_range_is_refused():
    classifier, digits = dv.example()
    with pytest.raises(ValueError, match=r"must lie in \[0, 1\]"):
        ImageEffects(classifier, digits.rows(slice(0, 1))._replace(image=digits.image[:1] * 300))
