"""Mean effects against the grid."""

import pytest

from dovision.report.figures.mean_effects import Grid
from dovision.results.run_record import read_sweep
from dovision.results.schemas import read_summary
from made_runs import edit_config, seal


def test_there_is_a_point_for_each_grid_fill_and_condition_and_a_panel_times_the_cells(write_run, tmp_path):
    """Grids of 2 and 4 cells a side painted black, and one of 4 with the image's mean; a latent run beside them."""
    for name, grid in (("a", 2), ("b", 4), ("c", 4), ("d", None)):
        overrides = ["fill@intervention.fill=mean"] * (name == "c") + [f"intervention.rows={grid}"]
        write_run(tmp_path / name, overrides if grid else [], grid=grid, images=12, maps=0, eps=(0.2,))
    mean = {"_target_": "dovision.interventions.fills.Mean"}
    edit_config(tmp_path / "c", lambda config: config["intervention"].update(fill=mean))
    seal(tmp_path / "c")
    (report_figure,) = Grid(0).of_sweep(read_sweep(tmp_path))
    rows = report_figure.data.set_index(["fill", "cells", "condition"])
    levels, conditions = (("black", 4), ("black", 16), ("mean", 16)), ("clean", "eps=0.2")
    assert sorted(rows.index) == sorted((*level, condition) for level in levels for condition in conditions)
    clean = read_summary(tmp_path / "b")["conditions"]["clean"]
    assert rows.loc[("black", 16, "clean"), "mean"] == clean["mean_abs_expected_effect"]["estimate"]
    of_a_cell, whole = report_figure.figure.axes[:2]
    cells, mean = of_a_cell.lines[0].get_data()
    assert whole.lines[0].get_ydata() == pytest.approx(cells * mean)
