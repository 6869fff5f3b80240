"""Effects against grid and fill: the numbers of the summaries, a line a fill."""

import json

import pytest
import yaml

from dovision.results.grid_exhibits import grid_exhibits
from dovision.results.reading import read_sweep


@pytest.fixture(scope="module")
def grids(write_run, tmp_path_factory):
    """Grids of 2 and 4 cells a side painted black, and one of 4 with the image's mean; a latent run beside them."""
    folder = tmp_path_factory.mktemp("grids")
    for name, grid in (("a", 2), ("b", 4), ("c", 4), ("d", None)):
        write_run(folder / name, [f"run={name}"], grid=grid, images=12, maps=0, eps=(0.2,))
    config = folder / "c" / ".hydra" / "config.yaml"
    content = yaml.safe_load(config.read_text())
    content["intervention"]["fill"] = {"_target_": "dovision.interventions.fills.Mean"}
    config.write_text(yaml.safe_dump(content))
    return folder


def test_there_is_a_point_for_each_grid_fill_and_arm(grids):
    (exhibit,) = grid_exhibits(read_sweep(grids))
    rows = exhibit.data.set_index(["fill", "cells", "arm"])
    assert sorted(rows.index) == sorted(
        [
            (fill, cells, arm)
            for fill, cells in (("Constant(value=0.0)", 4), ("Constant(value=0.0)", 16), ("Mean", 16))
            for arm in ("clean", "eps=0.2")
        ]
    )
    summary = json.loads((grids / "b" / "summary.json").read_text())["arms"]["clean"]["mean_abs_expected_effect"]
    assert rows.loc[("Constant(value=0.0)", 16, "clean"), "mean"] == summary["estimate"]


def test_the_right_panel_is_times_the_number_of_cells(grids):
    (exhibit,) = grid_exhibits(read_sweep(grids))
    of_a_cell, whole = exhibit.figure.axes[:2]
    cells, mean = of_a_cell.lines[0].get_data()
    assert whole.lines[0].get_ydata() == pytest.approx(cells * mean)


def test_the_caption_names_grids_fills_count_and_interval(grids):
    (exhibit,) = grid_exhibits(read_sweep(grids))
    for word in ("PixelGrid(rows=2", "fill=Mean", "n = 12 images", "bootstrap", "off the data"):
        assert word in exhibit.caption
    assert "LatentChannel" not in exhibit.caption


def test_a_single_grid_has_no_such_figure(grids):
    assert grid_exhibits(read_sweep(grids / "a")) == []
    assert grid_exhibits(read_sweep(grids / "d")) == []
