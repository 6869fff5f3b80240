"""Each kind of run once: page, terminal, summaries and every logger give the numbers and sentences of the findings."""

from collections import defaultdict

import pandas as pd
import pytest

from dovision.report.wandb_logger import MOST_SCALARS
from dovision.results.finding import HEADLINE_METRICS, metric_text
from dovision.results.map_summary import whole_scores
from dovision.results.run_findings import run_findings
from dovision.results.run_record import read_sweep
from dovision.results.sweep_findings import by_factors, pivots, sweep_findings
from page_text import visible

ATTACK = ("attack=fgsm", "attack.eps=0.1")
DETECTION = ("detector=[max_softmax,feature_squeezing]", "detection.val_images=60", "detection.test_images=20")
DETECTION += ("+attack@detection.attacks.fgsm=fgsm", "detection.attacks.fgsm.eps=0.1")
DETECTION += ("+attack@detection.attacks.mifgsm=mifgsm", "detection.attacks.mifgsm.eps=8/255")
KINDS = {"effects": ATTACK, "maps": ("explainer=[grad_cam,effect_map]",), "detection": (*DETECTION, *ATTACK)}
LOGGERS = ("logger=[csv,tensorboard,wandb]", "logger.wandb.artifacts=false")


def words(text):
    return " ".join(text.split())


def numbers(summary):
    """Estimates by METRIC/CONDITION."""
    return {
        f"{metric}/{condition}": value["estimate"]
        for condition, metrics in summary["conditions"].items()
        for metric, value in metrics.items()
        if isinstance(value, dict) and "estimate" in value
    }


def estimates(run):
    """The headline numbers of a run by the names that loggers give them."""
    found = {name: value for name, value in numbers(run.summary).items() if value == value}
    for row in whole_scores(run.summary).to_dict("records"):
        found[f"{row['metric']}/{row['explainer']}"] = row["mean"]
    for row in run.summary.get("detection", []):
        if row["attack"] == "worst case":
            found[f"detection_auroc/{row['detector']}/worst_case"] = row["auroc"]
    return found | {name: value for each in run_findings(run) for name, value in each.logged().items()}


def texts(run):
    """Its sentences, and its headline numbers with their intervals."""
    rows = run.summary["conditions"].values()
    numbers = [metric_text(name, row[name]) for name in HEADLINE_METRICS for row in rows]
    return [each.text for each in run_findings(run)] + numbers


@pytest.mark.long
@pytest.mark.parametrize("kind", KINDS)
def test_a_run_gives_the_same_numbers_and_sentences_in_every_outlet(
    kind, copy, dovision_evaluate, capsys, page_of, events, offline_run
):
    assert dovision_evaluate(f"output_root={copy}", *LOGGERS, *KINDS[kind]) == 0
    terminal = words(capsys.readouterr().err)
    (run,) = read_sweep(copy / "evaluate")
    page = words(visible(page_of(run.folder, copy / "page").read_text()))
    for text in texts(run):
        assert text in page
        assert text in terminal
    (row,) = pd.read_csv(run.folder / "csv" / "metrics.csv").to_dict("records")
    assert row.pop("step") == 0
    expected = estimates(run)
    assert {name: row.get(name) for name in expected} == pytest.approx(expected, abs=1e-12)
    sent = defaultdict(list)
    for item in offline_run(run.folder)["history"]:
        assert item["item"]["trainer/global_step"] == 0
        for name in item["item"].keys() & row.keys() - {"epoch"}:
            sent[name].append(item["item"][name])
    found = events(run.folder / "tensorboard")
    assert any(name.startswith("figures/") for name in found.Tags()["images"])
    curves = {tag: [event.value for event in found.Scalars(tag)] for tag in found.Tags()["scalars"]}
    assert {event.step for tag in curves for event in found.Scalars(tag)} == {0}
    once = {name: [pytest.approx(value)] for name, value in row.items()}
    assert curves | {"epoch": [0]} == once
    shown = {name: once[name] for name in {*sent, "epoch"}}
    assert sent | {"epoch": [0]} == shown
    assert 0 < len(shown) <= MOST_SCALARS


@pytest.mark.long
def test_a_sweep_gives_the_same_numbers_and_sentences_in_every_outlet(copy, dovision_evaluate, capsys, reported):
    words_of_sweep = ("intervention.rows=1,2", "intervention.columns=${intervention.rows}", *ATTACK, "-m")
    assert dovision_evaluate(f"output_root={copy}", *words_of_sweep) == 0
    terminal = words(capsys.readouterr().err)
    sweep = copy / "evaluate"
    assert reported(sweep) == 0
    page = words(visible((sweep / "report" / "index.html").read_text()))
    runs = read_sweep(sweep)
    frame = by_factors(runs)
    sentences = [one.text for one in sweep_findings(frame)]
    assert sentences
    for text in sentences:
        assert text in page
        assert text in terminal
    for pivot in pivots(frame)[:3]:
        for text in (text for _, cells in pivot.rows for text in cells):
            assert text in page
    table = pd.read_csv(sweep / "sweep_summary.csv").to_dict("records")
    for row, run in zip(table, sorted(runs, key=lambda run: run.label), strict=True):
        of_run = {"/".join(reversed(name.split("/"))): value for name, value in numbers(run.summary).items()}
        shared = row.keys() & of_run.keys()
        assert {"clean/accuracy", "eps=0.1/success_rate", "eps=0.1/mean_abs_expected_effect"} <= shared
        assert {name: row[name] for name in shared} == pytest.approx(
            {name: of_run[name] for name in shared}, nan_ok=True
        )
