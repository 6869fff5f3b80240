"""The images that a run evaluates."""

from types import SimpleNamespace

import pytest

from dovision.datasets.phantom import Phantom
from dovision.identity.samples import evaluated_samples, leading_samples
from made_config import read


@pytest.fixture(scope="module")
def films() -> Phantom:
    """Forty films a split, about half of which have a lesion, and so a box that speaks for a class."""
    return Phantom("multiclass", ("healthy", "disease"), (1, 64, 64), "disease", 0.0, None, 40, 40, 40, seed=0)


@pytest.mark.parametrize("split", ["val", "test"])
def test_any_number_of_images_is_the_beginning_of_the_splits_order(films, split):
    whole = list(range(40))
    for count in (None, 1, 7, 39, 40, 1000):
        asked = SimpleNamespace(split=split, image_slice=slice(count), only_with_boxes=False)
        assert leading_samples(asked, films) == whole[:count]


def test_a_range_is_one_of_the_splits_order_boxed_or_not(films):
    for boxed in ("false", "true"):
        chosen = f"evaluation.only_with_boxes={boxed}"
        samples = evaluated_samples(read(chosen).evaluation, films)
        ranges = [read(chosen, f"evaluation.images={images}").evaluation for images in ("0:7", "7:15", "15:90")]
        assert [sample for of in ranges for sample in evaluated_samples(of, films)] == samples
        assert leading_samples(ranges[1], films) == samples[:15]
    with pytest.raises(ValueError, match="evaluation.images=40:41 must begin below the number of images, 40. Choose"):
        evaluated_samples(read("evaluation.images=40:41").evaluation, films)


@pytest.mark.slow
@pytest.mark.parametrize("images", ["0:0", "5:2", "a:b", "1:", ":3", "0:1:2", "0", "-1"])
def test_what_is_no_range_is_refused(images):
    with pytest.raises(ValueError, match="evaluation.images(:| must be a)"):
        read(f"evaluation.images={images}")


def test_boxed_images_are_taken_in_the_splits_order_too(films):
    boxed = evaluated_samples(read("evaluation.only_with_boxes=true").evaluation, films)
    table = films.table("test")
    assert boxed == table["sample"][table["disease"] == 1].tolist()
    assert (
        evaluated_samples(read("evaluation.only_with_boxes=true", "evaluation.images=5").evaluation, films) == boxed[:5]
    )
    unknown = films.source_boxes
    films.source_boxes = lambda split: unknown(split).iloc[:0]
    with pytest.raises(
        ValueError, match="evaluation.only_with_boxes needs test images with a box that speaks for a class"
    ):
        evaluated_samples(read("evaluation.only_with_boxes=true").evaluation, films)
