"""Effects inside masks against outside and the masks moved, paired image by image, on effects made up by hand."""

import dataclasses
import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from dovision.functional.intervals import EFFECT_BOUNDS, mean_interval
from dovision.report.figures.objects import Objects
from dovision.results.effect_findings import use_findings
from dovision.results.headline_effects import subjects
from dovision.results.mask_effects import mask_contrasts, mask_sizes
from dovision.results.run_record import Run, read_sweep
from dovision.results.tables import EFFECTS, effects_schema, write_table

UNITS = {"lung": -0.6, "lung control 0": 0.1, "lung control 1": -0.3, "outside": 0.25}


def rows(samples: int = 24) -> pd.DataFrame:
    """Effects of a mask, two controls and all outside; every second image against the class, the last uncontrolled."""
    found = []
    for sample in range(samples):
        sign, more = (-1) ** sample, 0.01 * (sample % 5)
        for unit, effect in UNITS.items():
            if (sample, " control " in unit) != (samples - 1, True):
                found.append((sample, "clean", "opacity", unit, sign * (effect - more * (unit == "lung"))))
    frame = pd.DataFrame(found, columns=["sample", "condition", "class", "unit", "effect"])
    return frame.assign(log_odds_effect=5 * frame["effect"])


@pytest.fixture
def of_masks(painted_run: Path, tmp_path: Path) -> Run:
    """A run whose rows of effects are those of `rows`; two samples a patient."""
    shutil.copytree(painted_run, tmp_path / "run", ignore=shutil.ignore_patterns("maps"))
    (run,) = read_sweep(tmp_path / "run")
    frame = rows().reindex(columns=effects_schema().names, fill_value=0)
    write_table(run.folder / EFFECTS, effects_schema(), [EFFECTS.from_frame(frame)])
    return run


def test_sizes_are_paired_within_the_image_and_their_interval_is_over_patients(of_masks):
    sizes = mask_sizes(of_masks.folder).set_index("sample")
    first = sizes.loc[1, ["inside", "outside", "moved", "minus_outside", "minus_moved"]].astype(float)
    assert first.tolist() == pytest.approx([0.61, 0.25, 0.2, 0.36, 0.41])
    assert np.isnan(sizes.loc[23, "minus_moved"])
    assert sizes.loc[23, "minus_outside"] == pytest.approx(0.38)
    assert sizes.loc[1, "minus_moved_log_odds"] == pytest.approx(5 * 0.41)
    assert sizes["mask"].unique().tolist() == ["lung"]
    row = mask_contrasts(of_masks.folder).iloc[0]
    own = np.array([0.41 + 0.01 * (sample % 5 - 1) for sample in range(23)])
    interval = mean_interval(own, np.arange(23) // 2, bounds=EFFECT_BOUNDS)
    assert tuple(row[["minus_moved", "minus_moved_low", "minus_moved_high"]]) == pytest.approx(interval[:3], abs=1e-6)
    log_odds = mean_interval(5 * own, np.arange(23) // 2)
    names = [f"minus_moved_log_odds{end}" for end in ("", "_low", "_high")]
    assert tuple(row[names]) == pytest.approx(log_odds[:3])
    assert (row["minus_moved_images"], row["minus_outside_images"], row["clusters"]) == (23, 24, 12)
    assert row["minus_moved_p"] == row["minus_moved_p_holm"] < 1e-6


def test_the_finding_and_the_figure_give_both_differences(of_masks):
    summary = {"mask_contrasts": mask_contrasts(of_masks.folder).to_dict("records"), "labels": {"opacity": 24}}
    run = dataclasses.replace(of_masks, summary={**of_masks.summary, **summary})
    (found,) = use_findings(run, subjects(run.folder))
    text = r"Not shown to use the lung: mean over it, P\(opacity\) \w+ in \d+ of 12 groups, by .*"
    assert re.fullmatch(text, found.text)
    detail = dict(found.detail)
    assert detail["log-odds, size minus that moved"].startswith("+2.094 [+")
    assert detail["mean size on P minus that moved"].startswith("+0.419 [+")
    assert "mean size on P minus that outside" in detail
    *_, figure = Objects(0, most=16).of_run(run)
    assert figure.data["minus_outside"].tolist() == pytest.approx([0.37], abs=0.01)
