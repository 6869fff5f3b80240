"""The reader's test: what ten kinds of runs say, printed with `-s`, in words that need no number of a unit."""

from __future__ import annotations

import re
from itertools import pairwise

import pytest

from dovision.results.detection_summary import write_detection
from dovision.results.detector_comparison import write_comparison
from dovision.results.run_findings import by_question, run_findings
from dovision.results.run_record import read_run, read_sweep
from dovision.results.sentences import QUESTIONS
from dovision.results.sweep_findings import by_factors, sweep_findings
from made_scores import write_detected

UNIT = re.compile(r"\br\d+c\d+\b|\bcontrol \d|\bunit_\d|\bnan\b|\{\w*\}")


def made(name, folder, write_run, map_run, painted_run):
    """A run of a kind, and what its first sentence begins with."""
    runs = {
        "cells": {"eps": (), "images": 40, "grid": 3, "maps": 1},
        "cells of few groups": {"eps": (), "images": 12, "grid": 2, "maps": 0},
        "attacked cells": {"eps": (0.05, 0.2), "images": 40, "grid": 4, "maps": 1},
        "channels": {"eps": (), "images": 40, "grid": None, "maps": 0},
        "attacked channels": {"eps": (0.2,), "images": 40, "grid": None, "maps": 0},
        "one picture": {"eps": (), "images": 1, "grid": 3, "maps": 1},
        "pictures without labels": {"eps": (0.2,), "images": 12, "grid": 4, "maps": 2, "labelled": False},
    }
    if name in runs:
        write_run(folder, **runs[name])
    elif name == "detectors":
        write_run(folder, eps=(), images=20, grid=2, maps=0)
        write_detected(folder, {"feature_squeezing": {"pgd": 12, "square": 20}, "entropy": {"pgd": 40, "square": 22}})
        write_detection(folder)
        write_comparison(folder, "feature_squeezing")
    return read_run({"true objects and maps": map_run, "painted objects": painted_run}.get(name, folder))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("name", "headings"),
    [
        ("cells", "uses limits"),
        ("cells of few groups", "uses limits"),
        ("attacked cells", "uses attacked limits"),
        ("channels", "uses limits"),
        ("attacked channels", "uses attacked limits"),
        ("one picture", "uses limits"),
        ("pictures without labels", "uses limits"),
        ("true objects and maps", "uses better limits"),
        ("painted objects", "uses better limits"),
        ("detectors", "uses better limits"),
    ],
)
def test_findings_answer_in_the_order_of_questions(name, headings, tmp_path, write_run, map_run, painted_run):
    run = made(name, tmp_path / "run", write_run, map_run, painted_run)
    for own in run.summary["conditions"]["clean"].get("classes", {}).values():
        own["auroc"] = {"estimate": 0.9, "low": 0.8, "high": 1.0}  # of a classifier that has learnt something
    findings = run_findings(run)
    read = by_question(findings)
    print(f"\n# {name}", *(f"\n{heading}\n  " + "\n  ".join(one.text for one in of) for heading, of in read.items()))
    assert list(read) == [QUESTIONS[part] for part in headings.split()]
    order = [list(QUESTIONS).index(one.question) for one in findings]
    assert all(first <= second for first, second in pairwise(order))
    for one in findings:
        assert not UNIT.search(one.text), one.text
        assert one.text.endswith(".")
        assert len(one.text.split()) <= 20


def test_a_sweep_names_no_unit_and_its_factors(sweep):
    runs = [run for run in read_sweep(sweep) if run.state == "completed"]
    texts = [one.text for one in sweep_findings(by_factors(runs))]
    print("\n# sweep\n  " + "\n  ".join(texts))
    assert texts
    assert not any(UNIT.search(text) for text in texts)
