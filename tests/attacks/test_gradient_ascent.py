from __future__ import annotations

import foolbox
import pytest
import torch
from foolbox.attacks.gradient_descent_base import normalize_lp_norms

from dovision.attacks.gradient_ascent import BIM, MIFGSM

EPS = {"linf": 0.05, "l2": 0.5}
FOOLBOX = {
    "linf": foolbox.attacks.LinfMomentumIterativeFastGradientMethod,
    "l2": foolbox.attacks.L2MomentumIterativeFastGradientMethod,
}


@pytest.mark.parametrize("momentum", [0.5, 1.0])
@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_it_equals_foolbox_with_the_sources_normalisation_of_gradients(norm, momentum, classifier, batch):
    eps = EPS[norm]
    theirs = FOOLBOX[norm](momentum=momentum, abs_stepsize=eps / 10, steps=10)
    theirs.normalize = lambda gradients, x, bounds: normalize_lp_norms(gradients, p=1)  # foolbox has sign and L2
    model = foolbox.PyTorchModel(classifier, bounds=(0, 1))
    expected = theirs.run(model, batch.image, foolbox.criteria.Misclassification(batch.label), epsilon=eps)
    ours = MIFGSM(eps, steps=10, step_size=eps / 10, momentum=momentum, norm=norm)
    torch.testing.assert_close(ours(batch, classifier, eps), expected, rtol=0, atol=1e-6)


@pytest.mark.parametrize("norm", ["linf", "l2"])
def test_without_momentum_it_is_bim(norm, classifier, batch):
    ours = MIFGSM(0.1, steps=10, momentum=0, norm=norm)(batch, classifier, 0.1)
    assert torch.equal(ours, BIM(0.1, steps=10, norm=norm)(batch, classifier, 0.1))


def test_a_negative_momentum_is_refused():
    with pytest.raises(ValueError, match="momentum must be at least 0, got -1"):
        MIFGSM(0.1, steps=10, momentum=-1)
