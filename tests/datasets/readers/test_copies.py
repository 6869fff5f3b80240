"""Files of equal bytes, in two splits and within one, by hand."""

import pandas as pd

from dovision.datasets.readers.copies import check_copies


def test_copies_in_two_splits_and_within_one_are_each_warned_of_once_also_where_there_are_thousands(caplog):
    pairs = 20_000  # of each kind: comparing each with each would take a minute
    digests = [f"{row // 2}".encode() for row in range(4 * pairs)]
    records = pd.DataFrame({"name": [f"{row}.png" for row in range(4 * pairs)], "group": range(4 * pairs)})
    tested = range(1, 2 * pairs, 2)
    rows = {"train": [row for row in range(4 * pairs) if row >= 2 * pairs or row % 2 == 0], "test": list(tested)}
    check_copies(digests, records, rows, "warn")
    across, within = caplog.messages
    assert f"{pairs} of other splits have the same bytes, such as 0.png (train) and 1.png (test)" in across
    assert within.startswith(f"{pairs} images have the same bytes as another one of another group or patient, such as")
