"""Mean effects against the grid."""

import json

import pytest

from dovision.report.figures.mean_effects import Grid
from dovision.results.run_record import read_sweep
from made_runs import edit_config, seal


@pytest.fixture(scope="module")
def grids(write_run, tmp_path_factory):
    """Grids of 2 and 4 cells a side painted black, and one of 4 with the image's mean; a latent run beside them."""
    folder = tmp_path_factory.mktemp("grids")
    for name, grid in (("a", 2), ("b", 4), ("c", 4), ("d", None)):
        overrides = ["fill@intervention.fill=mean"] * (name == "c") + [f"intervention.rows={grid}"]
        write_run(folder / name, overrides if grid else [], grid=grid, images=12, maps=0, eps=(0.2,))
    mean = {"_target_": "dovision.interventions.fills.Mean"}
    edit_config(folder / "c", lambda config: config["intervention"].update(fill=mean))
    seal(folder / "c")
    return folder


def test_there_is_a_point_for_each_grid_fill_and_condition_and_a_panel_times_the_cells(grids):
    (report_figure,) = Grid(0).of_sweep(read_sweep(grids))
    rows = report_figure.data.set_index(["fill", "cells", "condition"])
    levels, conditions = (("black", 4), ("black", 16), ("mean", 16)), ("clean", "eps=0.2")
    assert sorted(rows.index) == sorted((*level, condition) for level in levels for condition in conditions)
    summary = json.loads((grids / "b" / "summary.json").read_text())["conditions"]["clean"]["mean_abs_expected_effect"]
    assert rows.loc[("black", 16, "clean"), "mean"] == summary["estimate"]
    of_a_cell, whole = report_figure.figure.axes[:2]
    cells, mean = of_a_cell.lines[0].get_data()
    assert whole.lines[0].get_ydata() == pytest.approx(cells * mean)
