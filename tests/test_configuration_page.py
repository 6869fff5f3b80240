"""docs/configuration.md names every part of every group, with the first line of its yaml; this file writes it, too:

python tests/test_configuration_page.py
"""

from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
PAGE = ROOT / "docs" / "configuration.md"
HEAD = """# Configuration groups

Made from `conf/` by `python tests/test_configuration_page.py`; a test fails when it is out of date. Choose a part by
`group=part`, sweep over parts by `-m group=part,part`, and see what a command would run by `--cfg job`.
"""
NESTED = {"hydra"}  # Hydra's own plumbing


def comment(path: Path) -> str:
    """The first line of a yaml that says what it is."""
    lines = path.read_text().splitlines()
    return next(line[2:] for line in lines if line.startswith("# ") and not line.startswith("# @package"))


def cell(text: str) -> str:
    """Text in a table of Markdown, where a bar would begin the next cell."""
    return text.replace("|", "\\|")


def page() -> str:
    groups = sorted(folder for folder in (ROOT / "conf").iterdir() if folder.is_dir() and folder.name not in NESTED)
    parts = [HEAD]
    for group in groups:
        rows = [f"| `{path.stem}` | {cell(comment(path))} |" for path in sorted(group.glob("*.yaml"))]
        parts.append("\n".join([f"## {group.name}", "", "| part | |", "| --- | --- |", *rows]) + "\n")
    return "\n".join(parts)


def test_the_page_is_that_of_the_groups():
    assert PAGE.read_text() == page(), "out of date: python tests/test_configuration_page.py"


def test_every_yaml_says_what_it_is_in_its_first_line():
    for path in (ROOT / "conf").rglob("*.yaml"):
        assert len(comment(path)) > 10, path


if __name__ == "__main__":
    PAGE.write_text(page())
