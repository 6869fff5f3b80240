"""What the figures of detection show and say, drawn from made-up scores."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import pytest

from dovision.report.figures._detection_plots import distributions, operating_curves, spaced
from dovision.report.figures.detection import Detectors
from dovision.report.report_figure import latex_table
from dovision.results.detection_summary import read_detection, write_detection
from dovision.results.detection_tables import NOISE, all_but, read_scores
from dovision.results.detector_comparison import write_comparison
from dovision.results.run_record import Run
from dovision.results.tables import CLEAN
from made_scores import ATTACKS, MADE, write_scores, write_steps

pytestmark = pytest.mark.slow  # they share a run that takes seconds to make

pytestmark = pytest.mark.usefixtures("few_images")
DETECTORS = Detectors(order=0)
COSTS = {
    "max_softmax": {"passes": 1, "milliseconds": 0.21},
    "feature_squeezing": {"passes": 3, "milliseconds": 0.74},
    "effect_consistency": {"passes": 50, "milliseconds": 8.4},
}


def make_run(folder: Path, seed: int = 0, **scores: Any) -> Run:
    """A completed run with made-up scores."""
    write_scores(folder, seed=seed, **scores)
    if scores.get("adaptive", True):
        write_steps(folder)
    write_detection(folder)
    write_comparison(folder, "feature_squeezing")
    config = {
        "dataset": {"_target_": "dovision.datasets.torch_dataset.TorchDataset", "source": {"_target_": "x.MNIST"}}
    }
    facts = {"seed": seed, "overrides": ["detector=odin", f"seed={seed}"], "detector_costs": COSTS}
    return Run(folder, f"seed={seed}", "completed", facts, config, {})


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> Run:
    return make_run(tmp_path_factory.mktemp("run"))


@pytest.fixture(scope="module")
def report_figures(run):
    return {report_figure.name: report_figure for report_figure in DETECTORS.of_run(run)}


def texts(report_figure):
    return [text.get_text() for axes in report_figure.figure.axes for text in axes.texts]


def test_all_figures_are_drawn(report_figures):
    tables = [f"detection_table_eps_{eps}" for eps in ("0.1", "0.2", "0.3")]
    others = ["adaptive", "convergence", "curves", "epsilon", "matrix_effect_consistency", "scores"]
    families = ["detection_unseen", "detection_families", "detection_comparison"]
    assert list(report_figures) == [*families, *tables, *(f"detection_{name}" for name in others)]


def test_a_difference_of_a_hundredth_is_seen_beside_one_of_a_half(report_figures):
    panels = report_figures["detection_comparison"].figure.axes
    assert len({axes.get_xlim() for axes in panels}) == 1
    for axes in panels:
        left, right = axes.get_xlim()
        assert left <= -0.01
        assert right >= 0.01
        near, far = axes.transScale.transform([(0.01, 0), (right, 0)])[:, 0]
        assert near > far / 4


def test_the_table_has_cost_noise_control_and_the_adaptive_attacker_last(report_figures):
    table = report_figures["detection_table_eps_0.3"].table
    columns = [f"{attack}\nnot adaptive" for attack in ("FGSM", "PGD", "worst case")]
    assert list(table.columns)[-4:] == [*columns, "adaptive,\nLinf"]
    assert table.loc["maximum softmax probability"].iloc[:3].tolist() == ["as is", "1", "0.21"]
    assert (
        table.eq("-").to_numpy().sum() == 5 + 4
    )  # detectors without an adaptive attack; the cost of effect_profile is not known
    assert "adaptive" not in report_figures["detection_table_eps_0.1"].table


def test_the_numbers_of_the_table_are_those_of_the_run(report_figures):
    report_figure = report_figures["detection_table_eps_0.3"]
    rows = report_figure.data[
        (report_figure.data["attack"] == "pgd") & (report_figure.data["detector"] == "max_softmax")
    ].iloc[0]
    text = "\n".join(
        f"{rows[name]:.3f} [{rows[name + '_low']:.3f}, {rows[name + '_high']:.3f}]"
        for name in ("auroc_paired", "auroc", "auroc_twins", "auroc_noise")
    )
    assert text.replace("0.", ".") in set(report_figure.table.to_numpy().ravel())


@pytest.mark.slow
def test_the_tables_are_set_by_latex_and_fit_the_page(report_figures, typeset):
    tables = [latex_table(one.table, one.caption, one.name) for one in report_figures.values() if one.table is not None]
    assert len(tables) == 5
    assert "Overfull" not in typeset(*tables)


def test_the_matrix_has_the_unseen_above_the_fits_to_each_attack(report_figures):
    axes = report_figures["detection_matrix_effect_consistency"].figure.axes[0]
    names = [label.get_text() for label in axes.get_yticklabels()]
    assert names[:3] == ["maximum softmax probability", "feature squeezing", "effect profile"]
    hardened = ["FGSM", "PGD", "all attacks", "all others"]
    assert names[3:] == ["all attacks", *(f"hardened: {fit}" for fit in hardened)]


def test_the_unseen_families_are_shown_as_a_picture_and_with_intervals(report_figures):
    figure = report_figures["detection_unseen"].figure
    against_clean, against_noise = figure.axes[:2]
    assert [axes.get_title("left") for axes in (against_clean, against_noise)] == ["against clean", "against noise"]
    assert [label.get_text() for label in against_noise.get_xticklabels()] == ["FGSM", "PGD"]
    names = [label.get_text() for label in against_clean.get_yticklabels()]
    assert names[:2] == ["maximum softmax probability", "feature squeezing"]
    assert len(names) == 4  # of each detector the preferred variant
    table = report_figures["detection_families"].table
    assert table.index.tolist()[-1] == "effect consistency, supervised, hardened, family unseen"
    data = report_figures["detection_families"].data
    own = data[(data["detector"] == "effect_consistency") & (data["family"] == "pgd")].iloc[0]
    assert own["fitted_on"] == all_but("pgd")
    lines = table.loc[table.index[-1], "PGD"].splitlines()
    assert lines[1].startswith(f"clean {own['auroc']:.3f} [".replace("0.", "."))
    assert [line.split()[0] for line in lines if line[0].isalpha()] == ["twins", "clean", "noise", "TPR", "TPR"]
    rejected = f"(clean rejected) {own['false_clean_5']:.3f} [{own['false_clean_5_low']:.3f}, ".replace("0.", ".")
    assert lines[[line[:6] for line in lines].index("TPR 5%") + 1].startswith(rejected)


def test_undetected_success_is_drawn_against_the_number_of_steps(report_figures):
    report_figure = report_figures["detection_convergence"]
    (axes,) = report_figure.figure.axes
    assert axes.get_legend_handles_labels()[1] == ["weighted", "selective", "all directions"]
    data = report_figure.data.set_index(["direction", "steps"])["mean"]
    assert data["weighted"].to_dict() == {1: 0.25, 2: 0.25, 5: 0.5, 8: 0.5}
    assert data["all directions"].to_dict() == {1: 0.25, 2: 0.25, 5: 0.75, 8: 0.75}


def test_where_no_attack_succeeds_the_figures_say_so(tmp_path):
    run = make_run(tmp_path, success=0.0, eps=(0.1,), attacks=("pgd",), adaptive=False, made=MADE[:2], images=20)
    drawn = {report_figure.name: report_figure for report_figure in DETECTORS.of_run(run)}
    assert list(drawn) == ["detection_table_eps_0.1", "detection_scores"]
    assert "PGD 0 of 20" in drawn["detection_table_eps_0.1"].caption
    assert "-\n-\n-\n-" in drawn["detection_table_eps_0.1"].table.to_numpy()


def test_runs_of_several_seeds_have_tables_with_the_number_of_each_training(tmp_path):
    small = {"eps": (0.1,), "attacks": ("pgd",), "adaptive": False, "made": MADE[:2], "images": 40}
    runs = [make_run(tmp_path / str(seed), seed, **small) for seed in range(3)]
    (table,) = DETECTORS.of_sweep([*runs, Run(tmp_path, "", "completed", {}, {}, {})])
    assert table.name == "detection_table_seeds_eps_0.1"
    assert "In the tables: numbers of each training, seeds 0, 1, 2 in this order; n is summed" in table.caption
    aurocs = [read_detection(run.folder).query("attack == 'pgd'")["auroc_paired"].iloc[0] for run in runs]
    shown = ", ".join(f"{auroc:.3f}" for auroc in aurocs).replace("0.", ".")
    assert any(text.startswith(f"{shown}\n") for text in table.table.to_numpy().ravel())
    assert list(DETECTORS.of_sweep(runs[:1])) == []
    runs = [make_run(tmp_path / f"two {seed}", seed, **small | {"attacks": ATTACKS}) for seed in range(2)]
    drawn = list(DETECTORS.of_sweep(runs))
    names = [one.name for one in drawn]
    assert names == ["detection_unseen_seeds", "detection_families_seeds", "detection_table_seeds_eps_0.1"]
    assert "the lowest of the trainings; bold" in drawn[0].caption
    assert f"{drawn[0].data['auroc_low'].iloc[0]:.3f}".replace("0.", ".") in texts(drawn[0])
    assert not any("mean" in one.caption.lower() for one in drawn)


def test_operating_curves_rise_and_perfect_detection_is_a_corner(tmp_path):
    write_scores(tmp_path, made=[("odin", "as is", 100.0, 0.0)], attacks=("pgd",), adaptive=False)
    curves = operating_curves(read_scores(tmp_path))
    for _, rows in curves.groupby("eps"):
        assert rows["false"].is_monotonic_increasing
        assert rows["found"].is_monotonic_increasing
        assert rows.loc[rows["false"] == 0, "found"].max() == 1
        assert rows.loc[rows["false"] == 0, "precision"].min() == 1


def test_distributions_are_those_of_clean_noise_and_successful_attacks(run):
    scores = read_scores(run.folder)
    frame = distributions(scores)
    clean = frame[(frame["detector"] == "max_softmax") & (frame["condition"] == CLEAN)]
    own = scores[(scores["split"] == "test") & (scores["attack"] == CLEAN) & (scores["detector"] == "max_softmax")]
    assert clean["value"].tolist() == sorted(own["score"])
    assert clean["share"].tolist() == pytest.approx(np.arange(1, len(own) + 1) / len(own))
    assert frame["eps"].unique().tolist() == [0.2]
    assert dict.fromkeys(frame["condition"]) == dict.fromkeys([CLEAN, NOISE, "attacked"])


@pytest.mark.parametrize(
    ("eps", "shown"), [([0, 0.3, 0.1], [0.1, 0.3]), ([1, 2, 3, 4, 5], [1, 3, 5]), ([0], []), ([0, 7], [7])]
)
def test_a_few_epsilons_are_spread_over_all(eps, shown):
    assert spaced(pd.Series(eps, dtype=float)) == shown
