"""What the figures of maps say, draw, and keep as numbers."""

import shutil
from dataclasses import replace

import numpy as np
import pandas as pd
import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq
import pytest

from dovision.report.figures import maps
from dovision.report.figures.gallery import Gallery, map_gallery
from dovision.report.figures.maps import TITLES, Maps, _gallery
from dovision.report.style import FAINT, INK, WIDTHS, BestText, page_width, wrap_text
from dovision.results.display_names import display_name
from dovision.results.finding import finer_text
from dovision.results.image_tables import CONTENT, HARD, MAPS_FILE, SOFT, maps_schema, read_grid, write_boxes
from dovision.results.map_summary import GIVEN_AREA
from dovision.results.object_effects import true_effects
from dovision.results.run_record import Run, read_sweep
from dovision.results.tables import TableWriter, read_samples
from dovision.types import BOX_COLUMNS

NAMES = ("map_scores", "map_differences", "map_score_dots", "map_gallery", "map_estimates", "map_scores_by_label")
NAMES += ("map_sanity", "map_similarity")


def texts(figure):
    return [text.get_text() for text in figure.findobj(lambda artist: hasattr(artist, "get_text"))]


@pytest.fixture(scope="module")
def shown(map_run):
    """As if the classifier were better than chance, which it is not shown to be."""
    (run,) = read_sweep(map_run)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(maps, "at_chance", lambda run: None)
        return {report_figure.name: report_figure for report_figure in Maps(0, gallery=4).of_run(run)}


def test_a_run_with_maps_has_all_figures_and_one_without_has_none(shown, sweep):
    assert tuple(shown) == NAMES
    assert list(Maps(0, gallery=4).of_run(read_sweep(sweep)[0])) == []


def test_a_single_explainer_is_compared_with_no_other(map_run, tmp_path):
    (run,) = read_sweep(map_run)
    folder = shutil.copytree(run.folder, tmp_path / "run")
    maps = pq.read_table(folder / MAPS_FILE)
    pq.write_table(maps.filter(pc.equal(maps["explainer"].cast("string"), "effect_map")), folder / MAPS_FILE)
    names = [report_figure.name for report_figure in Maps(0, gallery=4).of_run(replace(run, folder=folder))]
    assert "map_score_dots" in names
    assert not {"map_scores_by_label", "map_similarity"} & set(names)


@pytest.mark.parametrize("name", NAMES)
def test_captions_state_fill_grid_and_count(shown, name):
    caption = shown[name].caption
    assert "n = " in caption
    assert "8 x 8 cells on 32 x 32 pixels" in caption
    assert "deletion and insertion with mean in 16 steps" in caption
    assert "Maps: Grad-CAM; effect map (intervention 8 x 8 cells, mean)" in caption
    assert "counterfactual" in caption


def test_the_table_has_a_row_for_each_explainer_and_kind_of_case(shown):
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


def test_the_table_of_differences_has_intervals_passes_and_what_could_explain_a_score_away(shown):
    data, words = shown["map_differences"].data, shown["map_differences"].table.to_numpy().ravel().tolist()
    row = data[(data["explainer"] == "effect_map") & (data["metric"] == "pooled_true_effects")].iloc[0]
    ends = ", ".join(f"{row[f'difference_{end}']:.3f}" for end in ("low", "high"))
    assert f"{row['difference']:.3f} [{ends}]" in words
    assert "65" in words
    assert {"distance to the centre", "random_map"} <= set(data["explainer"])
    assert "grad_cam" not in set(data["explainer"])


def test_controls_are_grey_and_a_uniform_map_is_marked(shown):
    energy = shown["map_score_dots"].figure.axes[1]
    colours = [line.get_color() for line in energy.lines if line.get_marker() == "o"]
    assert colours == [INK, INK, FAINT, FAINT, FAINT] * 2  # all cases, then the correct ones
    (dotted,) = [line for line in energy.lines if line.get_linestyle() == ":"]
    assert dotted.get_xdata()[0] == pytest.approx(1 / 16)


def test_the_gallery_draws_boxes_and_names_a_zero_map(shown):
    figure = shown["map_gallery"].figure
    assert len(figure.axes) == 3 * 4 + 1
    assert figure.axes[-1].get_ylabel().startswith("against \N{LEFTWARDS ARROW} evidence")
    assert "zero" in texts(figure)
    films = list(dict.fromkeys(shown["map_gallery"].data["sample"]))
    assert sorted(films) == [0, 1, 2]
    for film, axes in zip(films, figure.axes[2:-1:4], strict=True):
        assert len(axes.patches) == 2 * (3 if film == 0 else 4)  # film 0 has no nodule; each outline is drawn twice
    assert [axes.get_title() for axes in figure.axes[:4]] == ["image", "Grad-CAM", "effect map", "random map"]


def test_many_maps_stand_in_rows_and_keep_their_size(map_run):
    names = [f"map {number}" for number in range(13)]
    cells = np.linspace(-1, 1, 64)
    facts = {"sample": 0, "state": "ok", "cells": cells, "explained": "nodule", "predicted": "nodule", "label": ""}
    facts |= {"control": 0.7, "probability": 0.7}
    frame = pd.DataFrame([facts | {"explainer": name} for name in names])
    boxes = pd.DataFrame(columns=BOX_COLUMNS)
    figure = map_gallery({0: np.zeros((32, 32), np.uint8)}, frame, boxes, read_grid(map_run))
    wrap_text(figure)
    shown = [axes for axes in figure.axes[:-1] if axes.axison]
    assert [axes.get_title() for axes in shown if axes.get_title() != "image"] == names
    assert min(axes.get_window_extent().width for axes in shown) / figure.dpi > 0.7


def test_the_best_is_bold_where_it_is_apart_and_no_control_is(shown):
    table = shown["map_scores"].table
    rows = [[isinstance(cell, BestText) for cell in row] for row in table.itertuples(index=False)]
    assert 0 < np.sum(rows) < 2 * (len(table.columns) - 3)
    assert np.max(rows, axis=0)[:3].tolist() == [0, 0, 0]
    assert set(table.loc[np.any(rows, axis=1), "explainer"]) <= {"Grad-CAM", "effect map"}


def test_of_a_classifier_at_chance_nothing_is_bold_or_starred(map_run):
    (run,) = read_sweep(map_run)
    drawn = {report_figure.name: report_figure for report_figure in Maps(0, gallery=4).of_run(run)}
    assert not any(isinstance(cell, BestText) for row in drawn["map_scores"].table.to_numpy() for cell in row)
    assert not any("*" in cell for row in drawn["map_scores"].table.to_numpy() for cell in row)
    assert "*" not in texts(drawn["map_scores_by_label"].figure)
    for name in ("map_scores", "map_scores_by_label"):
        assert maps.at_chance(run).text in drawn[name].caption
        assert "star" not in drawn[name].caption


@pytest.mark.parametrize("metric", TITLES)
@pytest.mark.parametrize(("gap", "bold"), [(0.3, True), (0.0, False), (0.01, False)])
def test_no_number_is_bold_whose_difference_from_the_second_may_be_nothing(metric, gap, bold):
    """Paired where maps are of the same images, so that wide intervals that overlap do not hide a difference."""
    noise = np.random.default_rng(0).normal(0, 0.1, (2, 40))
    values = {"m": gap + noise[0], "r": noise[1], "center_map": 9.0 + noise[1]}
    keys = {"sample": np.arange(40), "class": "a", "group": np.arange(40), "correct": True}
    frame = pd.concat([pd.DataFrame({**keys, "explainer": name, metric: own}) for name, own in values.items()])
    ends = {"m": (gap - 0.1, gap + 0.1), "r": (-0.1, 0.1), "center_map": (8.9, 9.1)}
    rows = [
        {
            "cases": "all",
            "metric": metric,
            "explainer": name,
            "mean": frame.loc[frame["explainer"] == name, metric].mean(),
        }
        | dict(zip(("low", "high"), own, strict=True))
        for name, own in ends.items()
    ]
    best = maps._best(pd.DataFrame(rows), frame)
    falls = TITLES[metric].endswith("↓")
    assert best == ({1 if falls else 0} if bold else set())


def test_estimates_stand_against_the_true_evidence_of_each_object(shown, map_run):
    report_figure = shown["map_estimates"]
    effects = true_effects(map_run).set_index(["sample", "class", "object"])["effect"]
    for row in report_figure.data.to_dict("records"):
        assert row["evidence"] == pytest.approx(-effects[row["sample"], row["class"], row["object"]])
    scores = (
        shown["map_scores"].data.query("metric == 'true_effects' and cases == 'all'").set_index("explainer")["mean"]
    )
    panels = [axes for axes in report_figure.figure.axes if axes.get_title(loc="left")]
    assert len(panels) == report_figure.data["explainer"].nunique()  # the controls are no maps
    for axes in panels:
        name, _, mean = axes.get_title(loc="left").partition(": ")
        own = report_figure.data[report_figure.data["explainer"].map(display_name) == name]
        assert mean == f"{scores[own['explainer'].iloc[0]]:.2f}"
        drawn = sum(len(cloud.get_offsets()) for cloud in axes.collections)
        assert drawn == len(own)


def test_the_sanity_figure_starts_at_the_map_as_it_is(shown):
    axes = shown["map_sanity"].figure.axes[0]
    assert [tick.get_text() for tick in axes.get_xticklabels()] == ["as is", "1 of 3", "2 of 3", "3 of 3"]
    line = next(line for line in axes.lines if len(line.get_xdata()) == 4)
    assert (line.get_xdata()[0], line.get_ydata()[0]) == (0, 1)


def test_stars_by_label_are_holm_adjusted(shown):
    report_figure = shown["map_scores_by_label"]
    data = report_figure.data
    firm = data[(data["cases"] == "all") & data["metric"].isin(["pointing", "energy", "iou"]) & (data["p_holm"] < 0.05)]
    assert texts(report_figure.figure).count("*") == len(firm)
    assert "Holm-adjusted" in report_figure.caption


@pytest.mark.parametrize("width", WIDTHS)
def test_figures_of_many_explainers_are_no_higher_than_a_page(width):
    explainers = [f"effect_map_{number}" for number in range(14)]
    numbers = {"mean": 0.5, "low": 0.4, "high": 0.6}
    rows = [
        {"explainer": name, "metric": metric, "cases": cases, **numbers}
        for name in explainers
        for metric in TITLES
        for cases in ("all", "correct")
    ]
    evidence = np.linspace(-0.2, 1, 20)
    clouds = [
        pd.DataFrame({"explainer": name, "kind": "tag", "evidence": evidence, "density": evidence})
        for name in explainers
    ]
    with page_width(width):
        figures = [maps._score_dots(pd.DataFrame(rows), TITLES, {})]
        figures.append(maps._estimate_clouds(pd.concat(clouds), {name: f"{name}: 0.50" for name in explainers}))
        for figure in figures:
            wrap_text(figure)
            assert figure.get_figheight() <= 9
            sizes = [axes.get_window_extent().size / figure.dpi for axes in figure.axes]
            assert np.min(sizes) > 0.35  # inches


@pytest.fixture(scope="module")
def digits_with_maps(tmp_path_factory, write_run) -> Run:
    """Digits with maps of their labels, and those wrongly predicted with maps of nothing else."""
    folder = tmp_path_factory.mktemp("digits")
    write_run(folder, images=40, maps=40)
    samples = read_samples(folder)
    clean = samples[samples["condition"] == "clean"]
    wrong = clean["sample"][~clean["correct"].astype(bool)].tolist()
    assert 0 < len(wrong) < 40
    schema = maps_schema(4, 4, 8, 8, 1, "grad_cam")
    facts = {"group": 0, "explainer": "grad_cam", "variant": "as is", "state": "ok", "cells": np.linspace(-1, 1, 16)}
    rows = [
        facts | {"sample": row.sample, "class": str(row.label), "correct": bool(row.correct)}
        for row in clean.itertuples()
    ]
    with TableWriter(folder / MAPS_FILE, schema) as table:
        table.write(pa.RecordBatch.from_pylist(rows, schema=schema))
    write_boxes(folder, pd.DataFrame(columns=BOX_COLUMNS))
    (run,) = read_sweep(folder)
    return run


def test_both_galleries_of_a_run_explain_one_class_of_an_image_and_say_which(digits_with_maps):
    run = digits_with_maps
    (effects,) = Gallery(0, most=12).of_run(run)
    (maps,) = _gallery(run, 12)
    chosen = {}
    for figure in (effects, maps):
        data = figure.data
        clean = data[data["condition"] == "clean"] if "condition" in data else data
        assert (clean["explained"] == clean["label"]).all()
        chosen[figure.name] = clean.drop_duplicates("sample").set_index("sample")
        for row in chosen[figure.name].itertuples():
            mark = "✓" if row.predicted == row.label else "✗"
            named = f"predicted: {row.predicted} ({row.probability:.2f}) {mark}\ntrue: {row.label}"
            other = "" if row.predicted == row.label else f"explained: {row.label} ({finer_text(row.control, '.2f')})\n"
            assert f"{other}{named}" in [axes.get_xlabel() for axes in figure.figure.axes]
    both = chosen["gallery"].join(chosen["map_gallery"], rsuffix="_of_map", how="inner")
    assert (both["explained"] == both["explained_of_map"]).all()
    assert (both["predicted"] == both["predicted_of_map"]).all()
    assert (both["explained"] != both["predicted"]).any()
