"""Megabytes that a dry run names, by hand, and at most those of a run."""

from types import SimpleNamespace

import pytest

from dovision.sweeps.dry_run import ROW, SUM, Extent, table_bytes

EXTENT = Extent(samples=list(range(100)), units=4, classes=14, groups=10, labels=0.5)


@pytest.mark.parametrize(
    ("keep", "classes", "sums"),
    [("all", 14, 0), ("predicted", 2.5, 1), ("labels", 0.5, 1), ("top_k", 6, 1), ("summary", 0, 1)],
)
def test_rows_by_hand(keep, classes, sums):
    """100 images, 2 conditions of 4 units, and sums of 10 patients over 14 classes."""
    settings = SimpleNamespace(keep=keep, top_k=3)
    assert table_bytes(settings, EXTENT, 2) == 100 * 8 * classes * ROW + sums * 10 * 8 * 14 * SUM


def test_no_more_classes_than_there_are():
    assert table_bytes(SimpleNamespace(keep="top_k", top_k=99), EXTENT._replace(groups=0), 1) == 100 * 4 * 14 * ROW
