"""What the figures of maps say, draw, and keep as numbers."""

import numpy as np
import pandas as pd
import pyarrow as pa
import pytest

from dovision.report.figures import maps
from dovision.report.figures.maps import TITLES, Maps
from dovision.report.figures.overlay import Overlay
from dovision.results.finding import finer_text
from dovision.results.image_tables import CONTENT, HARD, MAPS_FILE, SOFT, MapGrid, maps_schema, write_boxes
from dovision.results.map_summary import GIVEN_AREA
from dovision.results.run_record import read_sweep
from dovision.results.tables import TableWriter, read_samples
from dovision.types import BOX_COLUMNS

NAMES = ("map_scores", "map_estimates", "map_sanity")


@pytest.fixture(scope="module")
def shown(map_run):
    """As if the classifier were better than chance, which it is not shown to be."""
    (run,) = read_sweep(map_run)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(maps, "at_chance", lambda run: None)
        return {report_figure.name: report_figure for report_figure in Maps(0).of_run(run)}


def test_a_run_with_maps_has_all_figures_and_one_without_has_none(shown, sweep):
    assert tuple(shown) == NAMES
    assert list(Maps(0).of_run(read_sweep(sweep)[0])) == []


def test_the_table_has_a_row_for_each_explainer_and_the_sanity_figure_starts_at_the_map_as_it_is(shown):
    table = shown["map_scores"].table
    words = table.to_numpy().ravel().tolist()
    assert table[table["explainer"] == "effect map"].index.tolist() == [
        "all cases",
        "cases that the classifier got right",
    ]
    assert set(TITLES.values()).difference(table) == {
        TITLES[GIVEN_AREA],  # whose boxes are all of one size
        *(TITLES[name] for name in (HARD, SOFT, CONTENT)),  # which are not measured
    }
    data = shown["map_scores"].data
    row = data[(data["explainer"] == "effect_map") & (data["metric"] == "energy") & (data["cases"] == "all")].iloc[0]
    assert f"{row['mean']:.3f}*\n[{row['low']:.3f}, {row['high']:.3f}]" in words  # a star: differs from grad_cam
    assert row["seconds"] == 0.2
    axes = shown["map_sanity"].figure.axes[0]
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["as is", "1 of 3", "2 of 3", "3 of 3"]
    line = next(line for line in axes.lines if len(line.get_xdata()) == 4)
    assert (line.get_xdata()[0], line.get_ydata()[0]) == (0, 1)


def test_of_a_classifier_at_chance_nothing_is_starred(map_run):
    (run,) = read_sweep(map_run)
    drawn = {report_figure.name: report_figure for report_figure in Maps(0).of_run(run)}
    assert not any("*" in cell for row in drawn["map_scores"].table.to_numpy() for cell in row)
    assert maps.at_chance(run).text in drawn["map_scores"].caption
    assert "star" not in drawn["map_scores"].caption


def test_each_map_explains_a_class_of_its_image_and_says_which(tmp_path, write_run):
    """Digits with maps of their labels, and those wrongly predicted with maps of nothing else."""
    write_run(tmp_path, images=40, maps=40)
    samples = read_samples(tmp_path)
    clean = samples[samples["condition"] == "clean"]
    wrong = clean["sample"][~clean["correct"].astype(bool)].tolist()
    assert 0 < len(wrong) < 40
    schema = maps_schema(MapGrid(4, 4, 8, 8, 1), "grad_cam")
    facts = {"group": 0, "explainer": "grad_cam", "variant": "as is", "state": "ok", "cells": np.linspace(-1, 1, 16)}
    rows = [
        facts | {"sample": row.sample, "class": str(row.label), "correct": bool(row.correct)}
        for row in clean.itertuples()
    ]
    with TableWriter(tmp_path / MAPS_FILE, schema) as table:
        table.write(pa.RecordBatch.from_pylist(rows, schema=schema))
    write_boxes(tmp_path, pd.DataFrame(columns=BOX_COLUMNS))
    (run,) = read_sweep(tmp_path)
    (drawn,) = Overlay(0, most=12).of_run(run)
    assert (drawn.data["explained"] == drawn.data["label"]).all()
    assert (drawn.data["explained"] != drawn.data["predicted"]).any()
    notes = [axes.get_xlabel() for axes in drawn.figure.axes]
    for row in drawn.data.itertuples():
        mark = "✓" if row.predicted == row.label else "✗"
        named = f"predicted: {row.predicted} ({row.probability:.2f}) {mark}\ntrue: {row.label}"
        other = "" if row.predicted == row.label else f"explained: {row.label} ({finer_text(row.control, '.2f')})\n"
        assert f"{other}{named}" in notes


def test_maps_stand_beside_their_images_with_boxes_and_a_zero_map_is_named(map_run):
    (drawn,) = Overlay(0, most=4).of_run(*read_sweep(map_run))
    figure = drawn.figure
    assert [axes.get_title("left") for axes in figure.axes[:3]] == ["image", "Grad-CAM", "effect map"]
    assert figure.axes[-1].get_ylabel().startswith("against \N{LEFTWARDS ARROW} evidence")
    assert any(axes.get_xlabel().endswith("map: zero") for axes in figure.axes)
    films = list(dict.fromkeys(drawn.data["sample"]))
    assert len(figure.axes) == 3 * len(films) + 1
    for film, axes in zip(films, figure.axes[2:-1:3], strict=True):
        assert len(axes.patches) == 2 * (3 if film == 0 else 4)  # film 0 has no nodule; each outline is drawn twice
