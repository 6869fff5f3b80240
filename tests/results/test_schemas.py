"""run.json and summary.json: what runs write is in the schemas, and what was edited is refused."""

import json
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from dovision.results.run_directory import RunDirectory
from dovision.results.run_files import RUN
from dovision.results.schemas import DIGEST, RunRecord, Summary, validated, verified, with_digest

PLAIN = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False) | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=4), inner, max_size=3),
    max_leaves=6,
)
WHERE = Path("run.json")


def test_every_fact_of_a_run_and_every_number_of_its_summary_is_in_the_schemas(fitted):
    (folder,) = (path.parent for path in (fitted / "evaluate").rglob(RUN))
    facts = RunDirectory(folder).read_record()
    assert set(facts) <= set(RunRecord.model_fields)
    summary = json.loads((folder / "summary.json").read_text())
    read = Summary.model_validate(summary)
    assert set(summary) <= set(Summary.model_fields)
    for found in read.conditions.values():
        assert set(found.model_extra or {}) == set()


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
    monkeypatch.setattr("dovision.results.schemas.RECORD_FORMAT", 3)
    with pytest.raises(
        ValueError, match=r"must be of record format 3, got 2\. Run the job again, or read it with the v"
    ):
        verified(written, WHERE)


@pytest.mark.parametrize(
    ("schema", "content", "place"),
    [
        (RunRecord, {}, "state is wrong"),
        (RunRecord, {"state": "done"}, "got 'done'"),
        (RunRecord, {"state": "failed", "exception": "x"}, "exception is wrong"),
        (RunRecord, {"state": "completed", "overrides": "seed=1"}, "overrides is wrong"),
        (RunRecord, {"state": "completed", "seed": 1.5}, "got '1.5'"),
        (RunRecord, {"state": "completed", "reported": {"source": "x"}}, "reported.numbers is wrong"),
        (Summary, {"interval": "x", "labels": {}, "conditions": {}}, "conditions is wrong"),
        (
            Summary,
            {"interval": "x", "labels": {}, "conditions": {"clean": {"eps": 0.0}}},
            "conditions.clean.images is wrong",
        ),
    ],
)
def test_a_wrong_place_is_named(schema, content, place):
    with pytest.raises(ValueError, match=r"run\.json must hold what its run wrote") as error:
        validated(schema, content, WHERE)
    assert place in str(error.value)
    assert "Run the job again." in str(error.value)
