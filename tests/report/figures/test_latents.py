"""Latents with the images on which they are most active."""

import pandas as pd
import pyarrow as pa
import pytest

from dovision.report.figures.latents import Latents
from dovision.store.activity import ACTIVITY
from dovision.store.run_record import read_sweep
from dovision.store.tables import write_table
from made_runs import write_run

LATENTS = Latents(0, most=2, images=2)


def active(sample, unit, largest):
    cells = [0.0, largest, 0.0, 0.0]
    place = {"rows": 2, "columns": 2, "map": cells}
    return {"sample": sample, "unit": f"channel {unit}", "mean": largest / 4, "largest": largest, **place}


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """Latents, two of which are active on the three saved images."""
    folder = tmp_path_factory.mktemp("latents")
    write_run(folder / "1a", ["intervention=latent"], eps=(), grid=None)
    rows = [active(0, 3, 1.0), active(0, 15, 2.0), active(1, 15, 5.0), active(2, 15, 3.0), active(9, 15, 8.0)]
    table = pa.Table.from_pylist(rows, schema=ACTIVITY.schema())
    write_table(folder / "1a" / ACTIVITY, ACTIVITY.schema(), [table])
    return read_sweep(folder)[0]


def test_the_saved_images_on_which_a_latent_is_most_active_are_drawn_the_largest_effect_first(run):
    (drawn,) = LATENTS.of_run(run)
    expected = [("channel 15", 1, 5), ("channel 15", 2, 3), ("channel 3", 0, 1)]
    pd.testing.assert_frame_equal(
        drawn.data[["unit", "sample", "largest"]].reset_index(drop=True),
        pd.DataFrame(expected, columns=["unit", "sample", "largest"]),
        check_dtype=False,
    )
    assert drawn.data["effect"].abs().is_monotonic_decreasing
    assert "n = 3 saved images" in drawn.caption
    panels = drawn.figure.axes
    assert [len(panel.images) for panel in panels] == [1, 1, 1, 0]
    active = panels[0].images[0].get_array() - panels[0].images[0].get_array()[..., ::-1]  # red minus blue
    height, width = active.shape[0] // 2, active.shape[1] // 2
    assert (active[:height, width:, 0] > 0.5).all()
    assert not active[height:].any()


def test_a_run_without_latents_has_none(sweep):
    assert list(LATENTS.of_run(read_sweep(sweep)[0])) == []
