"""A YAML file is plain types, and no more of them than it has text."""

from __future__ import annotations

import pytest

from dovision.io import yaml_file


def test_plain_types_are_read(tmp_path):
    (tmp_path / "a.yaml").write_text("a: [1, 2.5, x, null]\nb: {c: true}\n")
    assert yaml_file.read_yaml(tmp_path / "a.yaml") == {"a": [1, 2.5, "x", None], "b": {"c": True}}


BOMB = "a0: &a0 [x, x]\n" + "".join(f"a{n}: &a{n} [*a{n - 1}, *a{n - 1}]\n" for n in range(1, 40))


@pytest.mark.parametrize(
    "text",
    [
        BOMB,
        "a: &a [*a]",
        "!!python/object/apply:os.mkdir [made]",
        "a: !!python/name:os.system",
        "[" * 5000,
        "a: ]",
        "\0",
    ],
    ids=["bomb", "circle", "object", "name", "deep", "syntax", "zero"],
)
def test_all_else_is_refused_in_a_sentence(tmp_path, monkeypatch, text):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "a.yaml").write_text(text)
    with pytest.raises(ValueError, match=r"a\.yaml must be YAML of plain types") as caught:
        yaml_file.read_yaml(tmp_path / "a.yaml")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "made").exists()
