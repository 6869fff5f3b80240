"""The adaptive attacker where the answers are known by hand, and against detectors that it must evade."""

from __future__ import annotations

import pandas as pd
import pytest
import torch
from sklearn.datasets import load_digits
from torch import Tensor, nn

from dovision.attacks._lp_ball import unit
from dovision.detectors.confidence import MaxSoftmax
from dovision.detectors.feature_squeezing import FeatureSqueezing
from dovision.evaluation.adaptive_attack import Adaptive, Opponent, adaptive_rows, earlier, without
from dovision.evaluation.detector_fits import Fitted
from dovision.functional.detection import threshold
from dovision.functional.rng import uniform
from dovision.interfaces import Classifier, Detector
from dovision.types import Batch, Task
from tests.evaluation.conftest import Brightness


class Brighter(Detector):
    """The score is the mean: the brighter, the likelier attacked."""

    passes = 0

    def read_features(self, batch, classifier, with_autoencoder):
        return batch.image.mean((1, 2, 3)).unsqueeze(1)


class Drawn(Brighter):
    """The mean, and a random number of each sample; remembers of which samples it drew."""

    strength = 1.0

    def __init__(self):
        self.samples = []

    def read_features(self, batch, classifier, with_autoencoder):
        self.samples.append(batch.sample.tolist())
        noise = self.strength * uniform((1,), 0, batch.sample)
        return super().read_features(batch, classifier, with_autoencoder) + noise


class Confident(Detector):
    """The score is the probability of the second class, which saturates."""

    passes = 1

    def read_features(self, batch, classifier, with_autoencoder):
        return classifier.task.probability(classifier(batch.image))[:, 1:]


CLASSIFIER = Classifier(Brightness(), Task("multiclass", ("dark", "bright")), [0.0], [1.0])


def grey(*means: float) -> Batch:
    number = torch.arange(len(means))
    return Batch(torch.tensor(means).view(-1, 1, 1, 1).repeat(1, 1, 2, 2), number * 0, number, number)


def attacked(limit: float, detector: Detector, eps: float = 0.2, **settings) -> tuple[pd.DataFrame, pd.DataFrame]:
    attack = Adaptive(eps, Opponent(detector, limit), **{"steps": 30, **settings})
    fitted = Fitted("brighter", "as is", "", detector)
    (rows,) = adaptive_rows(fitted, attack, [grey(0.4, 0.45)], CLASSIFIER)
    return rows.scores.to_pandas(), rows.steps.to_pandas()


def test_images_that_are_known_are_not_attacked_again():
    attack = Adaptive([0.1, 0.2], Opponent(Brighter(), 0.55), steps=3)
    given = Fitted("brighter", "as is", "", Brighter()), attack, [grey(0.4, 0.45), grey(0.3, 0.6)], CLASSIFIER
    every = [rows.scores for rows in adaptive_rows(*given)]
    for known in (2, 4, 8):
        assert [rows.scores for rows in adaptive_rows(*given, known)] == every[known // 2 :]


def test_the_lowest_score_that_fools_the_classifier_is_found():
    scores, steps = attacked(0.55, Brighter())
    assert set(scores["attack"]) == {"adaptive"}
    assert scores["success"].all()
    assert scores["score"].between(0.5, 0.52).all()
    found = steps.groupby("direction")["first"].count().to_dict()
    assert found == {"weighted": 2, "selective": 2, "orthogonal": 0}  # both gradients lie along one line


def test_a_detector_that_sees_all_that_fools_the_classifier_is_not_evaded():
    scores, steps = attacked(0.45, Brighter())
    assert scores["success"].all()
    assert (scores["score"] > 0.45).all()
    assert steps["first"].isna().all()


def test_an_image_out_of_reach_stays_as_it_is():
    scores, steps = attacked(0.55, Brighter(), eps=0.01)
    assert not scores["success"].any()
    assert scores["score"].tolist() == pytest.approx([0.4, 0.45])
    assert steps["first"].isna().all()


def test_the_same_seed_evades_after_the_same_steps():
    for first, second in zip(*(attacked(0.55, Brighter(), seed=3) for _ in range(2)), strict=True):
        pd.testing.assert_frame_equal(first, second)


def test_random_reads_are_averaged_over_draws_that_are_not_the_detectors_own():
    detector = Drawn()
    attack = Adaptive(0.2, Opponent(detector, 1.0), steps=1, draws=3)
    attack(grey(0.4, 0.45), CLASSIFIER, 0.2)
    own, _, *reads = detector.samples  # the first two find out whether reads are random
    assert own == [0, 1]
    assert len(reads) == 3 * 2 * 3  # directions, states, draws
    assert len({tuple(samples) for samples in reads}) == 3
    assert [0, 1] not in reads


def test_detectors_without_random_reads_are_read_once_a_step():
    detector = Drawn()
    detector.strength = 0.0
    Adaptive(0.2, Opponent(detector, 1.0), steps=1, draws=3)(grey(0.4, 0.45), CLASSIFIER, 0.2)
    assert detector.samples[2:] == [[0, 1]] * 3 * 2  # directions, states


def test_a_gradient_of_a_saturated_probability_is_found_at_a_temperature():
    network = nn.Sequential(Brightness(), nn.Linear(2, 2, bias=False))
    network[1].weight.data = 1e3 * torch.eye(2)
    classifier = Classifier(network, CLASSIFIER.task, [0.0], [1.0])
    attack = Adaptive(0.2, Opponent(Confident(), 0.0), steps=1)
    batch = grey(0.45, 0.6)
    batch.image.requires_grad_()
    (hard, hard_slope), (soft, soft_slope) = (attack._score(batch, classifier, each) for each in (1.0, 1000.0))
    assert torch.equal(hard, soft)
    assert not hard_slope.any()
    assert (soft_slope > 0).all()


def test_orthogonal_gradients_leave_the_other_as_it_is():
    generator = torch.Generator().manual_seed(0)
    one, other = torch.randn(2, 3, 1, 4, 4, generator=generator)
    torch.testing.assert_close((without(one, other) * other).sum((1, 2, 3)), torch.zeros(3), atol=1e-4, rtol=0)


def test_tiny_gradients_have_length_one_and_those_that_are_not_finite_none():
    gradient = torch.tensor([1e-30, 0.0, torch.nan]).view(3, 1, 1, 1).repeat(1, 1, 2, 2)
    assert unit(gradient).flatten(1).norm(dim=1).tolist() == pytest.approx([1, 0, 0])


def test_the_earlier_of_two_steps_is_taken_and_never_is_later_than_any():
    one, other = torch.tensor([3, 3, -1, -1]), torch.tensor([2, -1, 5, -1])
    assert earlier(one, other).tolist() == [2, 3, 5, -1]


@pytest.fixture(scope="module")
def digits() -> tuple[Classifier, Tensor, Batch]:
    """A small network that reads handwritten digits, clean images, and others to attack."""
    pixels, label = (torch.tensor(column) for column in load_digits(return_X_y=True))
    image = (pixels.float() / 16).view(-1, 1, 8, 8)
    with torch.random.fork_rng():
        torch.manual_seed(0)
        network = nn.Sequential(nn.Flatten(), nn.Linear(64, 64), nn.ReLU(), nn.Linear(64, 10))
        classifier = Classifier(network, Task("multiclass", tuple("0123456789")), (0.3,), (0.4,))
        optimizer = torch.optim.Adam(network.parameters(), 5e-3)
        for _ in range(20):
            for rows in torch.randperm(1400).split(64):
                optimizer.zero_grad()
                classifier.task.loss(classifier(image[rows]), label[rows]).mean().backward()
                optimizer.step()
    number = torch.arange(40)
    return classifier.eval(), image[1400:1700], Batch(image[-40:], label[-40:], number, number)


@pytest.mark.slow
@pytest.mark.parametrize("detector", [MaxSoftmax(), FeatureSqueezing([1], [2])], ids=lambda each: type(each).__name__)
def test_confidence_and_feature_squeezing_are_evaded(detector, digits):
    classifier, clean, batch = digits
    with torch.no_grad():
        known = batch._replace(image=clean, sample=torch.arange(300))
        limit = threshold(detector.score(detector.read(known, classifier, None)).numpy(), 0.05)
    attack = Adaptive(0.3, Opponent(detector, limit), steps=50, restarts=2)
    (rows,) = adaptive_rows(Fitted("one", "as is", "", detector), attack, [batch], classifier)
    found = rows.scores.to_pandas()
    assert ((found["success"] == True) & (found["score"] <= limit)).mean() > 0.8  # noqa: E712
