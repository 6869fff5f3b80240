"""What the figures of detection show and say, drawn from made-up scores."""

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from dovision.report.figures.detection import Detectors, roc_curves
from dovision.results.detection_summary import WORST, read_detection, write_detection
from dovision.results.detection_tables import preferred_scores
from dovision.results.detector_comparison import write_comparison
from dovision.results.run_record import Run
from made_scores import MADE, write_scores, write_steps

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


def test_all_figures_are_drawn_and_the_table_has_cost_noise_control_and_the_adaptive_attacker_last(report_figures):
    tables = [f"detection_table_eps_{eps}" for eps in ("0.1", "0.2", "0.3")]
    families = ["detection_families", "detection_comparison"]
    assert list(report_figures) == [*families, *tables, "detection_adaptive", "detection_curves"]
    table = report_figures["detection_table_eps_0.3"].table
    columns = [f"{attack}\nnot adaptive" for attack in ("FGSM", "PGD", "worst case")]
    assert list(table.columns)[-4:] == [*columns, "adaptive,\nLinf"]
    assert table.loc["maximum softmax probability"].iloc[:3].tolist() == ["as is", "1", "0.21"]
    assert (
        table.eq("-").to_numpy().sum() == 5 + 4
    )  # detectors without an adaptive attack; the cost of effect_profile is not known
    assert "adaptive" not in report_figures["detection_table_eps_0.1"].table


def test_the_numbers_of_the_table_and_the_areas_under_the_curves_are_those_of_the_run(report_figures, run):
    report_figure = report_figures["detection_table_eps_0.3"]
    rows = report_figure.data[
        (report_figure.data["attack"] == "pgd") & (report_figure.data["detector"] == "max_softmax")
    ].iloc[0]
    text = "\n".join(
        f"{rows[name]:.3f} [{rows[name + '_low']:.3f}, {rows[name + '_high']:.3f}]"
        for name in ("auroc_paired", "auroc", "auroc_twins", "auroc_noise")
    )
    assert text.replace("0.", ".") in set(report_figure.table.to_numpy().ravel())
    frame = read_detection(run.folder)
    worst = frame[(frame["attack"] == WORST) & (frame["detector"] == "max_softmax")].set_index("eps")["auroc"]
    curves = report_figures["detection_curves"].data.query("detector == 'max_softmax'")
    for eps, rows in curves.groupby("eps"):
        false, found = np.r_[0, rows["false"]], np.r_[0, rows["found"]]
        assert np.trapezoid(found, false) == pytest.approx(worst[eps])


def test_where_no_attack_succeeds_the_figures_say_so(tmp_path):
    run = make_run(tmp_path, success=0.0, eps=(0.1,), attacks=("pgd",), adaptive=False, made=MADE[:2], images=20)
    drawn = {report_figure.name: report_figure for report_figure in DETECTORS.of_run(run)}
    assert list(drawn) == ["detection_table_eps_0.1"]
    assert "PGD 0 of 20" in drawn["detection_table_eps_0.1"].caption
    assert "-\n-\n-\n-" in drawn["detection_table_eps_0.1"].table.to_numpy()


@pytest.mark.parametrize(
    ("eps", "drawn"), [((0.3, 0.1), [0.1, 0.3]), ((0.1, 0.2, 0.3, 0.4, 0.5), [0.1, 0.3, 0.5]), ((0.7,), [0.7])]
)
def test_curves_are_of_a_few_epsilons_and_perfect_detection_is_a_corner(eps, drawn, tmp_path):
    write_scores(tmp_path, made=[("odin", "as is", 100.0, 0.0)], attacks=("pgd",), adaptive=False, eps=eps)
    curves = roc_curves(preferred_scores(tmp_path).query("split == 'test'"))
    assert curves["eps"].unique().tolist() == drawn
    for _, rows in curves.groupby("eps"):
        assert rows["false"].is_monotonic_increasing
        assert rows.loc[rows["false"] == 0, "found"].max() == 1
