"""docs/results.md and the results of README.md are those that docs/results_tables.py makes of recorded numbers."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

import pytest
from hydra import compose, initialize_config_dir

from dovision.analysis.detection_summary import WHOLE_FAMILY, WORST, write_detection
from dovision.analysis.detector_comparison import read_comparison, write_comparison
from dovision.config import settings
from dovision.config.sources import HYDRA_DEFAULTS, configuration_folder
from dovision.store.detection_tables import COMPARISON
from dovision.store.run_record import read_run
from dovision.sweeps.keys import check_choices, check_target, drop_unselected
from made_runs import write_map_run
from made_scores import write_scores
from programs import program

ROOT = Path(__file__).resolve().parents[2]
TEXTS = sorted((ROOT / "docs" / "results").glob("*.md.j2"))


@pytest.fixture(scope="module")
def tables():
    """The program that makes the pages, as a module."""
    return program("docs/results_tables.py")


@pytest.mark.parametrize("page", ["README.md", "docs/results.md"])
def test_a_page_shows_the_recorded_numbers(page, tables):
    made = tables.pages()[ROOT / page]
    assert f"`{tables.COMMAND}`" in made
    assert (ROOT / page).read_text() == made, f"{page} is out of date. Mend docs/results/, and run: {tables.COMMAND}"


@pytest.mark.parametrize("path", TEXTS, ids=lambda path: path.name)
def test_the_text_holds_no_measured_number(path):
    text = re.sub(r"```.*?```|{%.*?%}|{{.*?}}|arXiv:\S+", "", path.read_text(), flags=re.DOTALL)
    assert re.findall(r"\d*\.\d\d+|\[-?\d*\.\d+, ", text) == []


def test_a_sentence_cannot_claim_what_an_interval_does_not_show(tables):
    shown, not_shown = [0.16, 0.10, 0.22], [0.04, -0.01, 0.09]
    assert tables.listed([shown, shown], way=1) == "+0.16 [+0.10, +0.22] and +0.16 [+0.10, +0.22]"
    assert tables.listed([shown, not_shown], way=(1, 0)) == "+0.16 [+0.10, +0.22] and +0.04 [-0.01, +0.09]"
    assert tables.listed([not_shown], way=0) == "+0.04 [-0.01, +0.09]"
    for numbers, way in (([shown, not_shown], 1), ([shown], 0), ([not_shown], -1), ([shown, not_shown], (1, 1))):
        with pytest.raises(ValueError, match="Mend the sentence"):
            tables.listed(numbers, way=way)


def test_the_scores_of_a_run_are_recorded_as_its_summary_has_them(tables, tmp_path):
    run = read_run(write_map_run(tmp_path / "run", images=8).path)
    rows = [{"seed": 0, **row} for row in tables.map_scores(run.folder, run.record)]
    maps = tables.Maps({"kind": "maps", "origin": {}, "rows": rows})
    whole = [row for row in run.summary["maps"] if row["cases"] == "all" and row["mean"] is not None]
    for metric in tables.METRICS:
        known = {row["explainer"]: row["mean"] for row in whole if row["metric"] == metric}
        assert {name: maps(name, metric)[0]["estimate"] for name in known} == pytest.approx(known, abs=1e-6)
    (energy,) = [row for row in whole if (row["metric"], row["explainer"]) == ("energy", "effect_map")]
    (found,) = maps("effect_map", "energy", minus="grad_cam")
    assert found["low"] == pytest.approx(energy["difference_low"], abs=1e-6)
    assert maps("effect_map", "passes")[0]["estimate"] == 65
    assert maps.seeds == [0]


def test_the_summary_of_a_run_is_recorded_with_its_intervals(tables, tmp_path):
    run = read_run(write_map_run(tmp_path / "run", images=8).path)
    rows = [{"seed": 0, **row} for row in tables.summary_scores(run.folder, run.record)]
    summary = tables.Summary({"kind": "summary", "origin": {}, "rows": rows})
    known = run.summary["conditions"]["clean"]["accuracy"]
    assert summary("clean", "accuracy") == [
        {"seed": 0, "of": "clean", "metric": "accuracy"} | {end: round(known[end], 6) for end in tables.ESTIMATE}
    ]
    energy = next(row for row in run.summary["maps"] if (row["explainer"], row["metric"]) == ("grad_cam", "energy"))
    assert summary("grad_cam", "energy")[0]["low"] == pytest.approx(energy["low"], abs=1e-6)


def test_the_scores_of_detectors_are_recorded_as_their_tables_have_them(tables, tmp_path):
    write_scores(tmp_path, images=300)
    frame = write_detection(tmp_path)
    write_comparison(tmp_path, "feature_squeezing")
    costs = {"detector_costs": {"effect_consistency": {"passes": 51, "milliseconds": 2.5}}}
    rows = [{"seed": 0, **row} for row in tables.detector_scores(tmp_path, costs)]
    detectors = tables.Detectors({"kind": "detection", "origin": {}, "rows": rows})
    assert detectors.families() == ["fgsm", "pgd"]
    assert detectors("effect_consistency", "", "", "passes")[0]["estimate"] == 51
    assert detectors("effect_consistency", "", "", "milliseconds")[0]["estimate"] == 2.5
    worst = tables.best_variant(frame[(frame["attack"] == WORST) & frame["eps"].isna()])
    worst = worst.set_index(["detector", "fitted_on"])["tpr_5"]
    for fit in [("max_softmax", ""), ("effect_consistency", "fgsm"), ("effect_consistency", "all attacks")]:
        (found,) = detectors(*fit, WORST, "tpr_5")
        assert found["estimate"] == pytest.approx(worst[fit], abs=1e-6)
    fits = {"": "", "fgsm": "fgsm", tables.ALL_BUT: "all but pgd"}
    for name, fitted_on in [
        ("max_softmax", ""),
        ("effect_consistency", "fgsm"),
        ("effect_consistency", tables.ALL_BUT),
    ]:
        (whole,) = frame[
            (frame["detector"] == name)
            & (frame["fitted_on"] == fits[fitted_on])
            & (frame["attack"] == WHOLE_FAMILY)
            & (frame["family"] == "pgd")
        ].to_dict("records")
        for metric in tables.DETECTION_METRICS:
            (found,) = detectors(name, fitted_on, "pgd", metric)
            assert [found["estimate"], found["low"], found["high"]] == pytest.approx(
                [whole[metric], whole[f"{metric}_low"], whole[f"{metric}_high"]], abs=1e-6
            )
    whole = read_comparison(tmp_path).query("attack == @WHOLE_FAMILY and detector == 'effect_consistency'")
    (least,) = detectors("effect_consistency", tables.LEAST, "pgd", "auroc", "feature_squeezing")
    single = whole[(whole["family"] == "pgd") & (whole["fitted_on"] == "fgsm")]
    assert least["estimate"] == pytest.approx(single["auroc"].item(), abs=1e-6)
    (evaded,) = detectors("effect_consistency", "all attacks", "adaptive", "evasion at 0.3")
    assert 0 <= evaded["low"] <= evaded["estimate"] <= evaded["high"] <= 1
    (tmp_path / COMPARISON).unlink()  # as of a run without a reference
    alone = [row for row in rows if not row["minus"]]
    assert [{"seed": 0, **row} for row in tables.detector_scores(tmp_path, costs)] == alone


def test_families_are_named_by_the_side_on_which_the_differences_of_all_trainings_lie(tables, tmp_path):
    write_scores(tmp_path)
    write_detection(tmp_path)
    write_comparison(tmp_path, "feature_squeezing")
    rows = list(tables.detector_scores(tmp_path, {"detector_costs": {}}))
    whole = read_comparison(tmp_path).query("attack == @WHOLE_FAMILY and detector == 'max_softmax'")
    low = dict(zip(whole["family"], whole["auroc_low"], strict=True))
    high = dict(zip(whole["family"], whole["auroc_high"], strict=True))
    twice = [{"seed": seed, **row} for seed in (0, 1) for row in rows]
    detectors = tables.Detectors({"kind": "detection", "origin": {}, "rows": twice})
    of = ("max_softmax", "", "auroc", "feature_squeezing")
    assert detectors.on_side(-1, *of) == [family for family in low if high[family] < 0]
    assert detectors.on_side(1, *of) == [family for family in low if low[family] > 0]
    (other,) = [row for row in detectors("max_softmax", "", "pgd", "auroc", "feature_squeezing") if row["seed"] == 1]
    other |= {"estimate": 0.01, "low": -0.01, "high": 0.03}
    assert all("pgd" not in detectors.on_side(way, *of) for way in (1, -1, 0))


def commands():
    for block in re.findall(r"```sh\n(.*?)```", (ROOT / "docs/results.md").read_text(), re.DOTALL):
        for line in block.replace("\\\n", " ").splitlines():
            program, *words = shlex.split(line)
            if program == "PYTHONPATH=.":  # with components of paper/
                continue
            at = [f"hydra.searchpath=[{ROOT}/paper/conf]"] * ("--config-dir" in words)
            yield program.removeprefix("dovision-"), at + [word for word in words if "=" in word or word[0] in "+~"]


@pytest.mark.parametrize(("command", "words"), list(commands()), ids=lambda value: "".join(value)[:60])
def test_a_command_of_the_page_is_one_of_this_version(command, words):
    words = [re.sub(r"^([\w.]+=\d),[\d,]+$", r"\1", word) for word in words]
    with initialize_config_dir(str(configuration_folder()), **HYDRA_DEFAULTS):
        config = compose(command, words, return_hydra_config=True)
        check_choices(command, config, words, config.hydra.runtime.choices)
        job = settings.read(command, drop_unselected(command, config, words))
    for component in settings.components(job):
        check_target(component.where, component)


@pytest.mark.parametrize(
    ("ours", "others", "paired", "verdict"),
    [
        ([(0.9, 0.8, 0.95)] * 2, [(0.6, 0.5, 0.7)] * 2, [], "wins"),
        ([(0.9, 0.8, 0.95)], [(0.85, 0.7, 0.9)], [(0.05, 0.01, 0.1)], "wins"),
        ([(0.1, 0.0, 0.2)] * 2, [(0.3, 0.25, 0.4)] * 2, [], "loses"),
        ([(0.1, 0.0, 0.2)] * 2, [(0.3, 0.25, 0.4), (0.2, 0.1, 0.4)], [], "behind, not shown in each"),
        ([(0.9, 0.8, 0.95)] * 2, [(0.85, 0.7, 0.9)], [], "ahead, not shown in each"),
        ([(0.5, 0.4, 0.6)] * 2, [(0.4, 0.3, 0.5), (0.6, 0.5, 0.7)], [], "no difference shown"),
    ],
)
def test_a_verdict_is_what_intervals_show_in_all_trainings(tables, ours, others, paired, verdict):
    rows = ([dict(zip(tables.ESTIMATE, one, strict=True)) for one in some] for some in (ours, others, paired))
    assert tables.verdict(*rows) == verdict


def test_the_best_other_of_readme_is_the_best_that_was_measured(tables):
    found = tables.recorded()
    table = tables.contests(found)
    assert len(table) == 8
    (worst,) = (row for row in table if "detected least" in row.question)
    rates = {row["detector"]: row["estimate"] for row in found["mnist_norms"]("beyond", "", WORST, "tpr_5")}
    assert worst.other == "BEYOND"
    assert max(row["estimate"] for row in worst.others) >= max(rates.values()) > max(r["estimate"] for r in worst.ours)
    birds = next(row for row in table if "birds" in row.data)
    assert (birds.other, birds.verdict) == ("occlusion", "behind, not shown in each")
