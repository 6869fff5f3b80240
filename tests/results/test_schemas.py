"""run.json and summary.json: what was edited, or is of another format, is refused."""

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dovision.results.run_record import Run
from dovision.results.schemas import DIGEST, read_summary, verified, with_digest

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)
WHERE = Path("run.json")


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(facts=st.dictionaries(st.text(max_size=6), PLAIN, max_size=4), data=st.data())
def test_a_record_is_read_back_and_one_that_was_edited_is_refused(facts, data):
    written = json.loads(json.dumps(with_digest(facts), ensure_ascii=False))
    assert verified(written, WHERE) == {name: value for name, value in facts.items() if name != DIGEST}
    edited = dict(written)
    name = data.draw(st.sampled_from(sorted(edited)))
    edited[name] = data.draw(PLAIN)
    if json.dumps(edited) == json.dumps(written):
        return
    with pytest.raises(ValueError, match="got content of another digest"):
        verified(edited, WHERE)


def test_a_record_of_another_format_is_refused_with_the_remedy(monkeypatch):
    written = with_digest({"state": "completed"})
    monkeypatch.setattr("dovision.results.schemas.RECORD_FORMAT", 4)
    with pytest.raises(ValueError, match=r"must be of record format 4, got 3\. Run the job again, or read it with"):
        verified(written, WHERE)


def test_a_record_without_a_state_and_a_summary_without_conditions_are_refused(tmp_path):
    (tmp_path / "run.json").write_text(json.dumps(with_digest({"state": "done"})))
    with pytest.raises(ValueError, match=r"run\.json must name a state of a run, got 'done'\. Run the job again\."):
        Run(tmp_path).read_record()
    (tmp_path / "summary.json").write_text("{}")
    with pytest.raises(ValueError, match=r"summary\.json must hold what its run wrote, got no conditions\. Run"):
        read_summary(tmp_path)
