"""Mean effects against the grid."""

import json

import pytest
import yaml

from dovision.io.files import sha256
from dovision.io.text_files import read_json, write_json
from dovision.report.figures.mean_effects import Grid
from dovision.results.run_record import read_sweep
from dovision.results.schemas import with_digest


@pytest.fixture(scope="module")
def grids(write_run, tmp_path_factory):
    """Grids of 2 and 4 cells a side painted black, and one of 4 with the image's mean; a latent run beside them."""
    folder = tmp_path_factory.mktemp("grids")
    for name, grid in (("a", 2), ("b", 4), ("c", 4), ("d", None)):
        overrides = ["fill@intervention.fill=mean"] * (name == "c") + [f"intervention.rows={grid}"]
        write_run(folder / name, overrides if grid else [], grid=grid, images=12, maps=0, eps=(0.2,))
    config = folder / "c" / ".hydra" / "config.yaml"
    content = yaml.safe_load(config.read_text())
    content["intervention"]["fill"] = {"_target_": "dovision.interventions.fills.Mean"}
    config.write_text(yaml.safe_dump(content))
    facts = read_json(folder / "c" / "run.json")
    facts["digests"][".hydra/config.yaml"]["sha256"] = sha256(config)
    write_json(folder / "c" / "run.json", with_digest(facts))
    return folder


def test_there_is_a_point_for_each_grid_fill_and_condition(grids):
    (report_figure,) = Grid(0).of_sweep(read_sweep(grids))
    rows = report_figure.data.set_index(["fill", "cells", "condition"])
    levels, conditions = (("black", 4), ("black", 16), ("mean", 16)), ("clean", "eps=0.2")
    assert sorted(rows.index) == sorted((*level, condition) for level in levels for condition in conditions)
    summary = json.loads((grids / "b" / "summary.json").read_text())["conditions"]["clean"]["mean_abs_expected_effect"]
    assert rows.loc[("black", 16, "clean"), "mean"] == summary["estimate"]


@pytest.mark.slow
def test_the_right_panel_is_times_the_number_of_cells(grids):
    (report_figure,) = Grid(0).of_sweep(read_sweep(grids))
    of_a_cell, whole = report_figure.figure.axes[:2]
    cells, mean = of_a_cell.lines[0].get_data()
    assert whole.lines[0].get_ydata() == pytest.approx(cells * mean)
