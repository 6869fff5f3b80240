"""Only regular files are opened, up to their budget, by dovision.io alone; texts are whole or not there."""

import pytest

from dovision.io import files
from dovision.io.atomic import replacing
from dovision.io.text_files import make_folder, read_json, read_yaml, write_json


def test_a_file_is_read_up_to_its_budget_and_a_text_without_its_byte_order_mark_in_utf_8(tmp_path):
    (tmp_path / "a").write_bytes(b"0123456789")
    assert files.read_bytes(tmp_path / "a", 10) == b"0123456789"
    with pytest.raises(ValueError, match=r"a must have at most 9 bytes, got 10\. Make it smaller"):
        files.read_bytes(tmp_path / "a", 9)
    path = tmp_path / "classes.txt"
    path.write_text("Käfer\n", "utf-8-sig")
    assert files.read_text(path) == "Käfer\n"
    path.write_text("Käfer\n", "latin-1")
    with pytest.raises(ValueError, match=r"classes.txt must be a text in UTF-8: .* position 1: .* Save it as UTF-8."):
        files.read_text(path)


def test_a_file_keeps_its_old_content_when_the_new_one_cannot_be_written(tmp_path):
    path = tmp_path / "a.json"
    write_json(path, {"kept": 1})
    with pytest.raises(ZeroDivisionError), replacing(path) as partial:
        partial.write_text("half") / 0
    assert read_json(path) == {"kept": 1}
    assert [file.name for file in tmp_path.iterdir()] == ["a.json"]
    with pytest.raises(ValueError, match="JSON"):
        write_json(tmp_path / "a.json", {"bad": float("nan")})
    assert read_json(tmp_path / "a.json") == {"kept": 1}


@pytest.mark.parametrize("damage", [b'{"state": "runn', b"", b"\xff\xfe", b"[1]"])
def test_a_damaged_file_is_named_with_the_remedy(tmp_path, damage):
    path = tmp_path / "run.json"
    path.write_bytes(damage)
    with pytest.raises(ValueError, match=rf"{path} must hold one JSON object.*[Dd]elete"):
        read_json(path)


def test_a_folder_that_cannot_be_made_is_named_with_the_setting_that_changes_it(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(OSError, match=r"file/runs must be a folder that can be written to.*output_root=\.\.\."):
        make_folder(tmp_path / "file" / "runs", setting="output_root")


def test_plain_types_are_read(tmp_path):
    (tmp_path / "a.yaml").write_text("a: [1, 2.5, x, null]\nb: {c: true}\n")
    assert read_yaml(tmp_path / "a.yaml") == {"a": [1, 2.5, "x", None], "b": {"c": True}}


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
        read_yaml(tmp_path / "a.yaml")
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "made").exists()


@pytest.mark.parametrize("text", ["[a, b]", "a", ""])
def test_yaml_without_keys_is_refused(tmp_path, text):
    (tmp_path / "a.yaml").write_text(text)
    with pytest.raises(ValueError, match=r"a\.yaml must hold a mapping"):
        read_yaml(tmp_path / "a.yaml")
