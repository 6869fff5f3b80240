import pytest
import torch
from torch.distributions import Bernoulli, Categorical, kl_divergence

from dovision.functional import effects
from dovision.types import Task

BINARY = Task("multiclass", ("no", "yes"))
LABELS = Task("multilabel", ("a", "b"))
CONTROL = torch.tensor([[0.2, 0.8]])


def test_the_expected_effect_is_weighted_by_the_control_and_summed_over_classes_but_not_labels():
    effect = torch.tensor([[0.3, -0.3]])
    torch.testing.assert_close(effects.expected_effect(effect, CONTROL, BINARY), torch.full((1, 2), 0.06 - 0.24))
    torch.testing.assert_close(effects.expected_effect(effect, CONTROL, LABELS), torch.tensor([[0.06, -0.24]]))


def test_the_log_odds_effect_of_a_label_is_the_change_of_its_logit():
    control, treated = torch.tensor([[1.0, 2.0]]), torch.tensor([[0.0, 5.0]])
    assert torch.equal(effects.log_odds_effect(treated, control, LABELS), torch.tensor([[-1.0, 3.0]]))


def test_the_expected_effect_on_logits_is_that_of_the_authors_notebook():
    # the logits and the effect that mnist.ipynb prints for the first test digit, to four decimals
    control = [-7.7913, -8.7620, -3.8121, -1.1142, -8.2427, -7.5758, -21.8473, 12.7211, -3.2361, -2.5685]
    treated = [-7.5444, -9.0752, -3.1629, -1.2157, -8.7326, -7.4799, -22.1875, 12.8187, -3.4300, -2.6987]
    digits = Task("multiclass", tuple("0123456789"))
    found = effects.expected_logit_effect(torch.tensor([treated]), torch.tensor([control]), digits)
    torch.testing.assert_close(found, torch.full((1, 10), 0.0976), atol=5e-5, rtol=0)


def test_the_expected_effect_on_the_logit_of_a_label_is_its_own_change_times_its_probability():
    control, treated = torch.tensor([[0.0, 2.0]]), torch.tensor([[3.0, 1.0]])
    expected = torch.tensor([[0.5 * 3, -torch.tensor(2.0).sigmoid()]])
    torch.testing.assert_close(effects.expected_logit_effect(treated, control, LABELS), expected)


def test_the_terms_of_the_divergence_are_torchs_in_nats():
    control, treated = torch.randn(2, 5, 3, 2, generator=torch.Generator().manual_seed(0))
    found = effects.divergence(control, treated, BINARY)
    categorical = kl_divergence(Categorical(logits=control), Categorical(logits=treated))
    torch.testing.assert_close(found.sum(-1), categorical)
    by_element = torch.nn.KLDivLoss(reduction="mean")(treated.log_softmax(-1), control.softmax(-1))
    torch.testing.assert_close(found.mean(), by_element)
    independent = kl_divergence(Bernoulli(logits=control), Bernoulli(logits=treated))
    torch.testing.assert_close(effects.divergence(control, treated, LABELS), independent)
    assert not effects.divergence(control, control, BINARY).any()


@pytest.mark.parametrize(
    "measure",
    [
        lambda a, b: effects.effect(a, b),
        lambda a, b: effects.log_odds_effect(a, b, BINARY),
        lambda a, b: effects.expected_effect(a, b, BINARY),
        lambda a, b: effects.expected_logit_effect(a, b, BINARY),
        lambda a, b: effects.divergence(a, b, BINARY),
    ],
)
def test_shapes_that_differ_are_refused_rather_than_broadcast(measure):
    with pytest.raises(ValueError, match=r"must have the same shape, got .*\(3, 2\), .*\(1, 2\)"):
        measure(torch.zeros(3, 2), torch.zeros(1, 2))


@pytest.mark.parametrize("batch", [1, 3, 7])
def test_the_other_images_of_a_batch_do_not_move_the_mean_over_units(batch):
    random, task = torch.Generator().manual_seed(0), Task("multiclass", tuple("0123456789"))
    treated = torch.randn(64, 16, 10, generator=random)
    control = torch.randn(64, 1, 10, generator=random).expand_as(treated)
    pairs = [(treated, control), *zip(treated.split(batch), control.split(batch), strict=True)]
    whole, *rest = (effects.mean_over_units(effects.expected_logit_effect(*pair, task)) for pair in pairs)
    assert torch.equal(torch.cat(rest), whole)
