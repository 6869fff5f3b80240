"""A command that keeps few rows, and what the page shows of it."""

import pandas as pd
import pytest

from dovision.report.page import render_page
from dovision.report.report_figure import Catalogue
from dovision.store.run_record import survey


@pytest.mark.slow
def test_the_page_shows_what_is_kept_and_says_what_is_not(copy, dovision_evaluate):
    overrides = [f"output_root={copy}", "attack=fgsm", "attack.eps=0.1", "evaluation.keep=labels,summary"]
    assert dovision_evaluate(*overrides, "-m") == 0
    labels, summary = survey(copy / "evaluate")
    drawn = [{figure.name: figure for figure in Catalogue().of_run(run)} for run in (labels, summary)]
    assert set(drawn[0]) - set(drawn[1]) == {"average_effect_maps", "gallery", "overlay"}
    assert "average_effects" in drawn[1]
    assert set(drawn[0]["gallery"].data["predicted"]) <= set(drawn[0]["gallery"].data["label"])
    page = render_page("kept", [labels, summary], pd.DataFrame(), [], [])
    assert "Image by image, effects are kept of the labels alone." in page
    assert "Image by image, no effect is kept." in page
