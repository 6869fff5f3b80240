"""Contract of every detector: each yaml of conf/detector is found and tested unlisted."""

import copy
import pickle
from functools import cache
from pathlib import Path

import pytest
import torch
from hydra.utils import instantiate
from omegaconf import DictConfig
from torch import Tensor, nn

import made_config
from dovision.interfaces import Classifier, Detector
from dovision.module_state import differentiable
from made_batches import state_of
from made_second_device import check

from .conftest import SHAPE, Condition, batch_of, images, made

CONF = Path(__file__).resolve().parents[2] / "conf"
YAMLS = sorted(path.stem for path in (CONF / "detector").glob("*.yaml"))
OOD = {  # by the method
    *("ASH", "DICE", "fDBD", "GradNorm", "KLMatching", "KNN", "LTS", "Mahalanobis", "MaxLogit", "NCI", "NNGuide"),
    *("OpenMax", "PNML", "ReAct", "RMD", "SCALE", "SHE", "ViM", "VRA"),
}
SETTINGS = {  # components with other settings than their own, by a name for each
    "effect_profile_latent": ("effect_profile", "scale=log_odds"),  # on the autoencoder's code
    "feature_squeezing_supervised": ("feature_squeezing", "score=regression"),
    "max_softmax_inverted": ("max_softmax", "score=sure"),
    "max_softmax_two_sided": ("max_softmax", "score=either"),
    **{method: ("pytorch_ood", f"method={method}") for method in OOD},
}
DETECTORS = sorted({*YAMLS, *SETTINGS})
SQUEEZING = {name for name in DETECTORS if name.startswith("feature_squeezing")}
# Rounding and trees have no gradient; the library of the others computes in single precision.
TREES = {name for name in DETECTORS if name.startswith("effect_consistency")}
STAND_IN = TREES | SQUEEZING | OOD | {"pytorch_ood"}
KINDS = ("multiclass", "multilabel")
MOSTLY = ("multiclass", pytest.param("multilabel", marks=pytest.mark.long))  # of what reads both kinds alike


@cache
def config() -> DictConfig:
    """All detectors at once, which takes as long as one."""
    named = ["intervention@detector.effect_profile_latent.interventions.grid=activation"]
    for name, (component, setting) in SETTINGS.items():
        named += [f"+detector@detector.{name}={component}", f"detector.{name}.{setting}"]
    return made_config.composed(f"+detector=[{','.join(YAMLS)}]", "+seed=3", *sorted(named), command=None).detector


def composed(name: str) -> Detector:
    return instantiate(config()[name], _convert_="all")


NOT_OF_CONFIDENCE = {
    "log_odds_effect",  # reads how far a sure prediction moves, and so nothing of one that is unsure
    "max_softmax_inverted",  # takes sure predictions for attacked
}


@pytest.fixture(params=DETECTORS)
def name(request) -> str:
    return request.param


@pytest.fixture
def detector(name) -> Detector:
    return composed(name)


def taken(detector: Detector, classifier: Classifier) -> bool:
    """Whether a detector takes the classifier's task; of a refusal the reason is looked at."""
    multiclass_only = getattr(detector, "method", "KNN") not in ("KNN", "MaxLogit")
    if not (classifier.task.multilabel and multiclass_only):
        return True
    with pytest.raises(ValueError, match="takes one of the classes to be true, got a multilabel task"):
        detector.check(classifier, SHAPE)
    return False


def read(detector: Detector, image: Tensor, classifiers: tuple[Classifier, Classifier]) -> Tensor:
    return detector.read(batch_of(image), classifiers[0])


@cache
def read_of_clean(name: str, condition: Condition) -> tuple[Detector, Tensor]:
    """A detector that is not fitted, and what it reads of the clean images; both stay as they are."""
    detector = composed(name)
    with torch.no_grad():
        return detector, read(detector, condition.clean, condition[:2])


@pytest.fixture
def rows(name, condition) -> tuple[Detector, Tensor, Tensor]:
    """A detector to be fitted, rows that it has read, and as attacked ones, if it needs any, others."""
    detector, rows = read_of_clean(name, condition)
    return copy.copy(detector), rows, (rows[40:] + 1 if detector.supervised else rows[:0])


@cache
def fitted(name: str, condition: Condition) -> Detector:
    """A detector that is fitted to the first half of the images."""
    detector = composed(name)
    with torch.no_grad():
        clean, attacked = (read(detector, each[:40], condition[:2]) for each in (condition.clean, condition.attacked))
    detector.fit(clean, attacked if detector.supervised else attacked[:0])
    return detector


@pytest.mark.parametrize("kind", KINDS)
def test_what_is_read_of_a_batch_is_what_is_read_of_each_image_alone(detector, kind):
    classifiers, image = made(kind), images(5)
    if not taken(detector, classifiers[0]):
        return
    with torch.no_grad():
        together = read(detector, image, classifiers)
        batch = batch_of(image)
        alone = torch.cat([detector.read(batch.rows([row]), classifiers[0]) for row in range(5)])
    assert together.ndim == 2
    assert together.isfinite().all()
    assert not together.requires_grad
    torch.testing.assert_close(together, alone, rtol=0, atol=1e-5)


def test_a_fitted_detector_that_has_read_can_be_sent_to_another_process(detector):
    classifiers = made("multiclass")
    for classifier in classifiers:
        classifier.network.relu2 = nn.MaxPool2d(1)  # which a traced network calls by a function that cannot be pickled
    with torch.no_grad():
        rows = read(detector, images(12), classifiers)
    detector.fit(rows, rows + 1 if detector.supervised else rows[:0])
    sent = pickle.loads(pickle.dumps(detector))
    torch.testing.assert_close(sent.score(rows), detector.score(rows), rtol=0, atol=0)
    with torch.no_grad():
        torch.testing.assert_close(sent.read(batch_of(images(12)), classifiers[0]), rows)


def test_a_single_label_is_enough(detector):
    classifiers = made("multilabel", outputs=1)
    if not taken(detector, classifiers[0]):
        return
    with torch.no_grad():
        rows = read(detector, images(12), classifiers)
    assert rows.isfinite().all()
    detector.fit(rows, rows + 1 if detector.supervised else rows[:0])
    assert detector.score(rows).isfinite().all()


@pytest.mark.parametrize("kind", MOSTLY)
def test_labels_are_not_looked_at(detector, kind):
    classifiers, batch = made(kind), batch_of(images(6))
    if not taken(detector, classifiers[0]):
        return
    if kind == "multilabel":
        batch = batch._replace(label=torch.eye(3).repeat(2, 1))
    other = batch._replace(label=batch.label.roll(1, 0))
    with torch.no_grad():
        first, second = (detector.read(each, classifiers[0]) for each in (batch, other))
    torch.testing.assert_close(first, second, rtol=0, atol=1e-9)


@pytest.mark.parametrize("kind", MOSTLY)
def test_with_and_without_a_gradient_the_same_is_read(detector, kind):
    classifiers, image = made(kind), images(4)
    if not taken(detector, classifiers[0]):
        return
    with torch.no_grad():
        expected = read(detector, image, classifiers)
    with differentiable(classifiers[0]):
        got = read(detector, image.clone().requires_grad_(), classifiers)
    assert got.requires_grad
    torch.testing.assert_close(got.detach(), expected, rtol=0, atol=1e-5)


@pytest.mark.parametrize("kind", MOSTLY)
def test_an_attacker_sees_all_passes_over_edited_images_each_in_its_row(name, detector, kind):
    with torch.inference_mode(False):
        classifiers, batch = made(kind), batch_of(images(4).requires_grad_())
    if not taken(detector, classifiers[0]):
        return
    with differentiable(classifiers[0]):
        features, views = detector.read_views(batch, classifiers[0])
        torch.testing.assert_close(features, detector.read(batch, classifiers[0]))
        torch.testing.assert_close(views[:, 0], classifiers[0](batch.image))
        (slope,) = torch.autograd.grad(views[1].sum(), batch.image, retain_graph=True)
    assert slope.flatten(1).any(1).tolist() == [False, True, False, False]
    if detector.reads_code or name.startswith(("feature_squeezing", "beyond", "ml_loo")):
        assert views.shape[1] == detector.passes + (name == "ml_loo")  # which does not read the image as it is
    elif profile := getattr(detector, "profile", None):
        assert views.shape[1] == 1 + sum(len(each.units(SHAPE)) for each in profile.interventions.values())


def test_the_classifier_is_left_as_it_was(detector):
    classifiers = made("multiclass")
    for classifier in classifiers:
        classifier.network.conv2.weight.requires_grad_(False)
        classifier.network.linear.bias.grad = torch.ones(3, dtype=torch.float64)
    before = [copy.deepcopy(state_of(classifier)) for classifier in classifiers]
    hooks = [len(module._forward_hooks) for classifier in classifiers for module in classifier.modules()]
    read(detector, images(2).requires_grad_(), classifiers)
    with torch.no_grad():
        read(detector, images(2), classifiers)
    assert [len(module._forward_hooks) for classifier in classifiers for module in classifier.modules()] == hooks
    for classifier, then in zip(classifiers, before, strict=True):
        for now, was in zip(state_of(classifier), then, strict=True):
            torch.testing.assert_close(now, was, rtol=0, atol=0)


@pytest.mark.parametrize("name", [name for name in DETECTORS if name not in NOT_OF_CONFIDENCE])
def test_images_from_between_the_classes_score_higher_than_those_it_is_sure_of(name, condition):
    detector = fitted(name, condition)
    with torch.no_grad():
        clean, attacked = (
            detector.score(read(detector, each[40:], condition[:2])) for each in (condition.clean, condition.attacked)
        )
    assert clean.shape == (40,)
    above = (attacked.unsqueeze(1) > clean).float().mean()  # the area under the ROC curve
    assert above > 0.95


def test_a_fit_depends_on_its_rows_alone_and_that_of_a_copy_leaves_it_as_it_was(rows):
    detector, read, attacked = rows
    one, other, again = (copy.copy(detector) for _ in range(3))
    one.fit(read[:40], attacked)
    before = one.score(read)
    torch.rand(7)
    other.fit(read[:40] * 2, attacked)
    assert torch.equal(one.score(read), before)
    again.fit(read[:40], attacked)
    assert torch.equal(again.score(read), before)
    assert one.score(read[:0]).shape == (0,)


@pytest.mark.parametrize("name", DETECTORS)
def test_the_gradient_of_the_score_is_its_slope(name, condition):
    """By finite differences in double precision, along the gradient's own signs."""
    detector = fitted(name, condition)
    classifiers = tuple(copy.deepcopy(classifier).double() for classifier in condition[:2])
    classifiers[0].coded = classifiers[1:]
    image = ((condition.clean + condition.attacked)[40:43] / 2).double()

    def score(image: Tensor) -> Tensor:
        return detector.score(detector.read(batch_of(image), classifiers[0])).sum()

    with differentiable(classifiers[0]):
        leaf = image.clone().requires_grad_()
        (gradient,) = torch.autograd.grad(score(leaf), leaf)
        assert gradient.isfinite().all()
        assert gradient.abs().sum() > 0
        if name in STAND_IN:
            return
        step = 1e-6 * gradient.sign()
        slope = (score((image + step).requires_grad_()) - score((image - step).requires_grad_())).item() / 2e-6
    assert slope == pytest.approx(gradient.abs().sum().item(), rel=2e-3)


def test_the_passes_of_an_image_are_those_that_were_run(detector):
    classifiers = made("multiclass")
    ran = []
    for classifier in classifiers:
        classifier.register_forward_pre_hook(lambda module, inputs: ran.append(len(inputs[0])))
    read(detector, images(1).requires_grad_(), classifiers)  # finds the layout of the code, with passes of its own
    ran.clear()
    read(detector, images(3).requires_grad_(), classifiers)
    assert sum(ran) == 3 * detector.passes


class TestFit:
    """Of detectors that have something to fit."""

    @pytest.fixture(params=[name for name in DETECTORS if composed(name).needs_fit])
    def name(self, request) -> str:
        return request.param

    def test_a_single_clean_image_is_refused(self, rows):
        detector, clean, attacked = rows
        with pytest.raises(ValueError, match=r"is fitted to at least 2 clean images, got 1\."):
            detector.fit(clean[:1], attacked[:40])

    def test_what_is_not_finite_is_named(self, rows):
        detector, clean, attacked = rows
        clean = clean[:40].clone()
        clean[3, -1] = torch.nan
        last = clean.shape[1] - 1
        message = f"must be finite, got nan or infinity in 1 of 40 clean images, in feature {last} of 0 to {last}"
        with pytest.raises(ValueError, match=message):
            detector.fit(clean, attacked)

    def test_attacked_images_are_refused_or_asked_for(self, rows):
        detector, clean = rows[0], rows[1][:40]
        if detector.supervised:
            with pytest.raises(ValueError, match=r"is fitted to at least 2 attacked images, got 0\."):
                detector.fit(clean, clean[:0])
        else:
            with pytest.raises(ValueError, match="is fitted to clean images only, got 40 attacked ones"):
                detector.fit(clean, clean)

    def test_a_score_before_the_fit_is_refused(self, rows):
        detector, clean, _ = rows
        with pytest.raises(ValueError, match="must be fitted before it scores"):
            detector.score(clean)


def test_effects_on_a_code_need_an_autoencoder():
    detector, (classifier, _) = composed("effect_profile_latent"), made("multiclass")
    classifier.coded = ()
    assert detector.reads_code
    with pytest.raises(ValueError, match=r"an intervention on a code needs an autoencoder .* got none. Choose one"):
        detector.read(batch_of(images(2)), classifier)


@pytest.mark.parametrize("name", [name for name in DETECTORS if not composed(name).reads_code])
def test_without_effects_on_a_code_no_autoencoder_is_needed(name):
    detector = composed(name)
    classifier, with_autoencoder = made("multiclass")
    rows = []
    for coded in ((), (with_autoencoder,)):
        classifier.coded = coded
        with torch.no_grad():
            rows.append(detector.read(batch_of(images(2)), classifier))
    first, second = rows
    torch.testing.assert_close(first, second, rtol=0, atol=1e-9)


def test_a_second_device_gives_the_same_scores(detector):
    def scores(detector, batch, classifier, with_autoencoder):
        classifier.coded = (with_autoencoder,)
        detector.check(classifier, batch.image.shape[1:])
        with torch.no_grad():
            rows = detector.read(batch, classifier)
        detector.fit(rows[:12], rows[12:] + 1 if detector.supervised else rows[:0])
        return detector.score(rows)

    check(scores, detector, batch_of(images(16)), *made("multiclass"))
