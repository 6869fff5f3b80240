import copy
import math
import pickle

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from hypothesis import given
from hypothesis import strategies as st
from torch import nn

import dovision as dv
from dovision.functional.norms import condition_name
from dovision.functional.rng import generator
from dovision.interfaces import Attack, Classifier, Context, Images, Intervention
from dovision.interventions._masks import MaskIntervention
from dovision.interventions.fills import Constant
from dovision.propagation import Propagation
from dovision.types import INPUT, Batch, Box, Layout, Task

MULTICLASS = Task("multiclass", ("a", "b", "c"))
MULTILABEL = Task("multilabel", ("a", "b", "c"))
TWO = Task("multiclass", ("a", "b"))


def batch(count: int = 3) -> Batch:
    image = torch.rand(count, 1, 4, 4, generator=torch.Generator().manual_seed(0))
    index = torch.arange(count)
    return Batch(image, index % 3, index + 10, index + 20)


def classifier() -> Classifier:
    torch.manual_seed(0)
    network = nn.Sequential(nn.BatchNorm2d(1), nn.Dropout(), nn.Flatten(), nn.Linear(16, 3))
    return Classifier(network, MULTICLASS, (0.5,), (0.25,))


def test_rows_are_chosen_from_every_field_of_a_batch_and_of_a_context():
    chosen = Context(batch(), classifier()).rows([2, 0]).batch
    assert chosen.sample.tolist() == [12, 10]
    assert chosen.group.tolist() == [22, 20]
    assert torch.equal(chosen.image, batch().image[[2, 0]])
    assert batch().rows(slice(0, 1)).label.tolist() == [0]


@pytest.mark.parametrize(
    ("kind", "classes", "message"),
    [
        (
            "multi-label",
            ("a",),
            r"task must be one of multiclass, multilabel, got 'multi-label'\. Did you mean multilabel",
        ),
        ("multiclass", ("a",), r"a multiclass task needs at least 2 classes, got \['a'\]"),
        ("multilabel", (), "a multilabel task needs at least 1 classes"),
        ("multilabel", ("a", "a"), r"class names must differ, got 'a' more than once"),
    ],
)
def test_a_task_that_cannot_be_is_refused(kind, classes, message):
    with pytest.raises(ValueError, match=message):
        Task(kind, classes)


def test_probabilities_of_classes_sum_to_one_and_those_of_labels_are_independent():
    logits = torch.tensor([[1.0, 2.0, 5.0]]).log()
    torch.testing.assert_close(MULTICLASS.probability(logits), torch.tensor([[1 / 8, 2 / 8, 5 / 8]]))
    torch.testing.assert_close(MULTILABEL.probability(logits), torch.tensor([[1 / 2, 2 / 3, 5 / 6]]))


@given(st.lists(st.floats(-300, 300, width=32), min_size=2, max_size=6))
def test_log_odds_are_exact_where_the_probability_saturates(values):
    logits = torch.tensor(values, dtype=torch.float32)
    exact = np.array(values, dtype=np.longdouble)
    others = [np.logaddexp.reduce(np.delete(exact, k)) for k in range(len(values))]
    found = Task("multiclass", tuple(map(str, range(len(values))))).log_odds(logits)
    np.testing.assert_allclose(found.numpy(), (exact - others).astype(float), rtol=3e-6, atol=1e-4)


def test_log_odds_pass_gradients_on():
    logits = torch.tensor([100.0, 0.0, 0.0], requires_grad=True)
    (gradient,) = torch.autograd.grad(MULTICLASS.log_odds(logits)[0], logits)
    torch.testing.assert_close(gradient, torch.tensor([1.0, -0.5, -0.5]))


def test_the_loss_is_the_cross_entropy_of_each_image():
    logits = torch.tensor([[1.0, 2.0, 3.0], [3.0, 2.0, 1.0]])
    label = torch.tensor([2, 2])
    expected = -logits.softmax(1)[[0, 1], [2, 2]].log()
    torch.testing.assert_close(MULTICLASS.loss(logits, label), expected)


def test_the_multilabel_loss_sums_over_labels_and_takes_whole_numbers_too():
    logits = torch.tensor([[1.0, 2.0, -3.0]])
    expected = F.softplus(torch.tensor([-1.0, 2.0, 3.0])).sum().view(1)
    torch.testing.assert_close(MULTILABEL.loss(logits, torch.tensor([[1.0, 0, 1]])), expected)
    torch.testing.assert_close(MULTILABEL.loss(logits, torch.tensor([[1, 0, 1]])), expected)


def test_a_multilabel_image_is_correct_if_each_label_is():
    probability = torch.tensor([[0.9, 0.5, 0.1], [0.9, 0.4, 0.1]])
    label = torch.tensor([[1.0, 1, 0], [1, 1, 0]])
    assert MULTILABEL.prediction(probability).tolist() == [[1, 1, 0], [1, 0, 0]]
    assert MULTILABEL.correct(probability, label).tolist() == [True, False]


def test_a_multiclass_image_is_correct_if_its_class_is_the_most_probable():
    probability = torch.tensor([[0.2, 0.5, 0.3], [0.2, 0.5, 0.3]])
    assert MULTICLASS.prediction(probability).tolist() == [1, 1]
    assert MULTICLASS.correct(probability, torch.tensor([1, 2])).tolist() == [True, False]


def test_a_classifier_normalises_inside_channel_by_channel():
    image = torch.rand(2, 3, 4, 4)
    inside = Classifier(nn.Identity(), MULTICLASS, (0.1, 0.2, 0.3), (0.5, 1.0, 0.2))
    expected = torch.stack([(image[:, c] - m) / s for c, (m, s) in enumerate([(0.1, 0.5), (0.2, 1.0), (0.3, 0.2)])], 1)
    torch.testing.assert_close(inside.forward(image), expected)
    assert set(inside.state_dict()) == {"mean", "std"}


class Paint(Intervention):
    """Paints unit u's share of the columns; the last unit of all paints everything, and the one before nothing."""

    site = INPUT
    boxes = (Box(0, 0, 4, 2), Box(1, 2, 3, 4), Box(2, 2, 2, 2), None)

    def units(self, shape):
        return ("left", "right", "nothing", "everything")

    def region(self, shape, unit, sample):
        return self.boxes[unit]

    def do(self, value, unit, context):
        obj = value if self.boxes[unit] is None else self.boxes[unit].crop(value)
        return torch.full_like(obj, 9)


@pytest.mark.parametrize(("unit", "painted"), [(0, 8), (1, 4), (2, 0), (3, 16)])
def test_apply_puts_the_new_value_into_its_region_and_keeps_the_rest(unit, painted):
    images = batch()
    before = images.image.clone()
    treated = Paint().apply(images.image, unit, Context(images, classifier()))
    assert torch.equal(images.image, before)
    changed = treated != before
    assert changed.flatten(1).sum(1).tolist() == [painted] * 3
    assert (treated[changed] == 9).all()


class Brighten(Attack):
    """Adds a number to every pixel, whatever the budget; records how it was called."""

    def __init__(self, eps, norm="linf", by=0.0):
        super().__init__(eps, norm)
        self.by = by

    def run(self, batch, classifier, eps):
        self.called = (torch.is_grad_enabled(), classifier.training, [p.requires_grad for p in classifier.parameters()])
        return batch.image + self.by


def dark(images: Batch) -> Batch:
    return images._replace(image=images.image * 0.5)


def test_an_attack_runs_with_gradients_in_eval_mode_with_frozen_parameters():
    attack = Brighten(0.1, by=0.05)
    with torch.no_grad():
        attacked = attack(dark(batch()), classifier().train(), 0.1)
    assert attack.called == (True, False, [False] * 4)
    torch.testing.assert_close(attacked, dark(batch()).image + 0.05)


def test_a_failing_attack_still_restores_the_classifier():
    class Failing(Brighten):
        def run(self, batch, classifier, eps):
            raise ArithmeticError

    model = classifier().train()
    model.network[0].eval()
    model.network[3].bias.requires_grad_(False)
    with pytest.raises(ArithmeticError):
        Failing(0.1)(batch(), model, 0.1)
    assert model.training
    assert not model.network[0].training
    assert [parameter.requires_grad for parameter in model.parameters()] == [True, True, True, False]


@pytest.mark.parametrize("by", [0.2, 0.6, -0.09, float("nan")])
def test_an_attack_that_leaves_its_budget_or_the_range_is_faulty(by):
    with pytest.raises(RuntimeError, match=r"Brighten must stay within eps 0\.1 and in \[0, 1\], got linf distance"):
        Brighten(0.1, by=by)(dark(batch()), classifier(), 0.1)


def test_the_l2_budget_counts_all_pixels_together():
    Brighten(0.5, "l2", by=0.124)(dark(batch()), classifier(), 0.5)  # 16 pixels: 4 * 0.124 < 0.5
    with pytest.raises(RuntimeError, match=r"l2 distance 0\.504"):
        Brighten(0.5, "l2", by=0.126)(dark(batch()), classifier(), 0.5)


def test_a_generator_depends_on_each_of_its_keys_and_their_order():
    def draw(*keys: int) -> float:
        return torch.rand((), generator=generator(*keys)).item()

    assert draw(0, 1, 2) == draw(0, 1, 2)
    assert len({draw(0, 1, 2), draw(1, 0, 2), draw(0, 2, 1), draw(1, 1, 2), draw(0, 2, 2), draw(0, 1, 3)}) == 6


@pytest.mark.parametrize(
    ("eps", "name"),
    [(0.1, "eps=0.1"), (0.2, "eps=0.2"), (8 / 255, "eps=8/255"), (0.015625, "eps=0.015625"), (1.5, "eps=1.5")],
)
def test_a_condition_is_named_as_its_epsilon_is_written(eps, name):
    assert condition_name(eps) == name


class Unit(Intervention):
    """One unit on the upper left quarter of an image of 8 x 8; a test has one of its methods return what it likes."""

    site = INPUT

    def __init__(self, **wrong):
        self.wrong = wrong

    def units(self, shape):
        return ("quarter",)

    def region(self, shape, unit, sample):
        return self.wrong.get("region", Box(0, 0, 4, 4))

    def mask(self, shape, unit, sample):
        return self.wrong.get("mask", np.ones((4, 4), dtype=bool))

    def do(self, value, unit, context):
        return self.wrong.get("do", torch.zeros(len(value), 1, 4, 4))


WRONG = {
    "region": [(0, 0, 4, 4), Box(0.0, 0, 4, 4), Box(0, 0, 9, 4), Box(4, 0, 0, 4), Box(0, 0, 4, math.nan), 4],
    "mask": [torch.ones(4, 4, dtype=torch.bool), np.ones((4, 4)), np.ones((1, 4), dtype=bool), True],
    "do": [
        np.zeros((1, 1, 4, 4), dtype=np.float32),
        torch.zeros(1, 1, 1, 1),
        torch.zeros(1, 4, 4),
        torch.zeros(1, 1, 4, 4, dtype=torch.uint8),
        torch.zeros(1, 1, 4, 4, device="meta"),
        torch.full((1, 1, 4, 4), torch.nan),
        0.0,
    ],
}


@pytest.mark.parametrize(("method", "value"), [(method, value) for method, many in WRONG.items() for value in many])
def test_what_a_users_unit_returns_of_another_type_or_shape_is_refused_by_name(method, value):
    network = nn.Sequential(nn.Flatten(), nn.Linear(64, 2))
    shown, linear = batch(1)._replace(image=torch.rand(1, 1, 8, 8)), Classifier(network, TWO, [0.0], [1.0]).eval()
    with pytest.raises(ValueError, match=rf"Unit\.{method}\(\) of unit 'quarter' must be .* got "):
        Propagation(linear, Unit(**{method: value}))(shown)
    if method == "do":
        with pytest.raises(ValueError, match=r"Unit\.do\(\) of unit 'quarter' must be .* got "):
            Unit(do=value).apply(shown.image, 0, Context(shown, linear))
    else:
        with pytest.raises(ValueError, match=rf"Unit\.({method}|on_image)\(\) of unit 'quarter' must be .* got "):
            Unit(**{method: value}).on_pixels((1, 8, 8), 0, [1.0])


def test_what_a_users_unit_returns_as_it_should_is_taken():
    unit = Unit(region=Box(*np.array([0, 0, 4, 4])))
    assert unit.on_pixels((1, 8, 8), 0, [2.0]).sum() == 32
    assert Unit(region=Box(0, 0, 0, 0), mask=np.ones((0, 0), dtype=bool)).on_pixels((1, 8, 8), 0, [2.0]).sum() == 0
    minus = torch.full((1, 1, 4, 4), -torch.inf)  # as of attention that is masked
    assert Unit(do=minus).apply(torch.rand(1, 1, 8, 8), 0, Context(batch(1), None)).isinf().sum() == 16


@pytest.mark.parametrize("mask", WRONG["mask"])
def test_masks_that_a_users_dataset_or_intervention_returns_wrongly_are_refused_by_name(mask):
    class Masked(MaskIntervention):
        def names(self):
            return ("m",)

        def masks(self, sample):
            return {"m": mask}

    class Own(Images):
        shape, mask_names = (1, 4, 5), ("m",)

        def order(self, split):
            return np.arange(1)

        def source(self, split): ...

        def source_table(self, split): ...

        def source_masks(self, split, row):
            return {"m": mask}

    with pytest.raises(ValueError, match=r"Masked\.masks\(\): 'm' must be a NumPy array of bool, shape \(4, 5\), got "):
        Masked(Constant(0.0), 0, 0).region((1, 4, 5), 0, 0)
    with pytest.raises(ValueError, match=r"Own\.source_masks\(\): 'm' must be a NumPy array of bool, shape \(4, 5\), "):
        Own().masks("test", 0)


LOSSES = ("dlr", "margin", "task_loss")
NAMES = {name: getattr(dv, name) for name in dir(dv) if name[0].isupper() or name in LOSSES}
GROUPS = {
    "attack": ["pgd", "fgsm", "square"],
    "intervention": ["pixel_grid", "transform"],
    "explainer": ["grad_cam", "effect_map", "random_map"],
    "detector": ["max_softmax", "feature_squeezing"],
    "fill": ["blur", "constant"],
}


@pytest.mark.parametrize(("group", "name"), [(group, name) for group, names in GROUPS.items() for name in names])
def test_a_repr_can_be_pasted(group, name):
    made = dv.component(group, name)
    again = eval(repr(made), dict(NAMES))
    assert type(again) is type(made)
    assert repr(again) == repr(made) == repr(pickle.loads(pickle.dumps(made))) == repr(copy.copy(made))


@pytest.mark.parametrize(
    ("layout", "shape", "seen"),
    [
        (Layout.NCHW, (2, 3, 4, 5), (2, 3, 4, 5)),
        (Layout.NHWC, (2, 4, 5, 3), (2, 3, 4, 5)),
        (Layout.NTC, (2, 7, 3), (2, 3, 7, 1)),
        (Layout.NCT, (2, 3, 7), (2, 3, 7, 1)),
        (Layout.NHTC, (2, 6, 7, 3), (2, 6, 7, 3)),
        (Layout.NC, (2, 3), (2, 3)),
    ],
)
def test_a_layout_shows_its_units_on_axis_1_and_restores_the_value(layout, shape, seen):
    value = torch.arange(float(torch.Size(shape).numel())).reshape(shape)
    shown = layout.present(value)
    assert shown.shape == seen
    assert torch.equal(layout.restore(shown), value)


def test_of_two_classes_that_exclude_each_other_the_first_is_the_opposite_of_the_second():
    assert Task("multiclass", ("benign", "malignant")).opposite == "benign"
    assert Task("multilabel", ("nodule", "opacity")).opposite is None
    assert Task("multiclass", ("a", "b", "c")).opposite is None
