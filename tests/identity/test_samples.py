"""The images that a run evaluates."""

from __future__ import annotations

import pytest
from hydra import compose, initialize_config_dir

from dovision.config import settings
from dovision.config.sources import HYDRA_DEFAULTS, configuration_folder
from dovision.datasets.phantom import Phantom
from dovision.identity.samples import evaluated_samples, first_samples


@pytest.fixture(scope="module")
def films() -> Phantom:
    """Forty films a split, about half of which have a lesion, and so a box that speaks for a class."""
    return Phantom("multiclass", ("healthy", "disease"), (1, 64, 64), "disease", 0.0, None, 40, 40, 40, seed=0)


def configured(*overrides: str):
    with initialize_config_dir(str(configuration_folder()), **HYDRA_DEFAULTS):
        return settings.read("evaluate", compose("evaluate", list(overrides)))


@pytest.mark.parametrize("split", ["val", "test"])
def test_any_number_of_images_is_the_beginning_of_the_splits_order(films, split):
    whole = list(range(40))
    for count in (None, 1, 7, 39, 40, 1000):
        assert first_samples(films, split, count) == whole[:count]


@pytest.mark.slow
def test_boxed_images_are_taken_in_the_splits_order_too(films):
    boxed = evaluated_samples(configured("evaluation.only_with_boxes=true").evaluation, films)
    table = films.table("test")
    assert boxed == table["sample"][table["disease"] == 1].tolist()
    assert (
        evaluated_samples(configured("evaluation.only_with_boxes=true", "evaluation.images=5").evaluation, films)
        == boxed[:5]
    )
    unknown = films.source_boxes
    films.source_boxes = lambda split: unknown(split).iloc[:0]
    with pytest.raises(
        ValueError, match="evaluation.only_with_boxes needs test images with a box that speaks for a class"
    ):
        evaluated_samples(configured("evaluation.only_with_boxes=true").evaluation, films)
