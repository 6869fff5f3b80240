"""Effects on one image: the numbers of the notebook and of the commands, from clean values that are kept."""

import pytest
import torch

import dovision as dv
from dovision.view.image_effects import ImageEffects, class_rows


def test_what_a_check_raises_ends_the_attack():
    classifier, digits = dv.example()
    shown = ImageEffects(classifier, digits.rows(slice(0, 1)))

    def check():
        raise KeyError("another attack")

    with pytest.raises(KeyError, match="another attack"):
        shown.attacked(dv.FGSM(eps="8/255"), check)
    assert not shown.classifier._forward_pre_hooks
    assert all(parameter.requires_grad for parameter in shown.classifier.parameters())


def test_an_image_without_a_label_is_attacked_away_from_what_is_predicted_and_one_out_of_range_refused():
    classifier, digits = dv.example()
    batch = digits.rows(slice(0, 1))._replace(label=torch.tensor([-1]))
    assert ImageEffects(classifier, batch).batch.label.tolist() == [1]
    with pytest.raises(ValueError, match=r"must lie in \[0, 1\]"):
        ImageEffects(classifier, digits.rows(slice(0, 1))._replace(image=digits.image[:1] * 300))


def test_the_rows_have_the_predicted_class_first_and_all_that_matters_after_the_edit():
    task = dv.Task("multiclass", tuple("abcdefgh"))
    control, treated = torch.tensor([5.0, 4, 3, 2, 1, 0, 0, 0]), torch.tensor([0.0, 4, 3, 2, 1, 0, 9, 0])
    rows = class_rows(task, control, treated, shown=7)
    assert [row.name for row in rows] == ["a", "b", "c", "d", "e", "g", "h"]
    probability = treated.softmax(0) - control.softmax(0)
    assert rows[0].effect == pytest.approx(float(probability[0]), abs=1e-6)
    odds = task.log_odds(treated) - task.log_odds(control)
    assert rows[5].log_odds_effect == pytest.approx(float(odds[6]), abs=1e-5)
