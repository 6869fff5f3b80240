"""A command that keeps few rows, and what the page shows of it."""

import pandas as pd
import pytest

from dovision.report.page import render_page
from dovision.report.report_figure import Catalogue
from dovision.results.run_record import survey


@pytest.mark.slow
def test_the_page_shows_what_is_kept_and_says_what_is_not(copy, dovision_evaluate):
    overrides = [f"output_root={copy}", "attack=fgsm", "attack.eps=0.1", "evaluation.rows=named,none"]
    assert dovision_evaluate(*overrides, "-m") == 0
    named, none = survey(copy / "evaluate")
    drawn = [{figure.name: figure for figure in Catalogue().of_run(run)} for run in (named, none)]
    assert set(drawn[0]) - set(drawn[1]) == {"average_effect_maps", "overlay"}
    assert "average_effects" in drawn[1]
    page = render_page("kept", [named, none], pd.DataFrame(), [], [])
    assert "Image by image, effects are those of labels and predictions alone." in page
    assert "Image by image, there are no effects." in page
