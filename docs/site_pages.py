"""Write the pages of the site that are made from other files: docs/reference/api/ from the public names and their
docstrings, docs/reference/configuration/ from the yaml files of conf/ with their comments."""

from __future__ import annotations

import re
from itertools import groupby
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
STUB = ROOT / "src" / "dovision" / "__init__.pyi"
API = {  # packages below dovision, in the order of the reference, and the title of their page
    "api": "Effects in a notebook",
    "notebook": "Effects in a notebook",
    "measurement": "Callbacks for Lightning",
    "results": "Callbacks for Lightning",
    "interventions": "Interventions",
    "attacks": "Attacks",
    "explainers": "Explainers",
    "detectors": "Detectors",
    "models": "Models",
    "datasets": "Datasets",
    "training": "Datasets",
    "functional": "Outputs that are no logits",
    "interfaces": "Interfaces",
    "types": "Types",
}
LEADS = {
    "api": """All names below are attributes of `dovision`; examples begin after `import dovision as dv`.
`dv.component(group, name)` makes any component with the settings of its yaml file.""",
    "configuration": """Each file of `conf/` as it stands: the first comment says what the component is, the others
what a key is and in which unit. `group=component` chooses a file, `group.key=value` overrides a key.""",
}
COMMANDS = ("evaluate", "train", "report", "sites", "verify", "view", "fitting")


def public_names() -> list[tuple[str, str]]:
    """(module, name) of each public name of dovision, as its stub has them."""
    return re.findall(r"^from dovision\.([\w.]+) import (\w+) as", STUB.read_text(), re.MULTILINE)


def api_pages() -> dict[str, str]:
    """Text of each page of the API reference, by its name."""
    order = list(API)
    found = sorted(public_names(), key=lambda pair: (order.index(pair[0].split(".")[0]), pair[0]))
    pages: dict[str, str] = {}
    for package, pairs in groupby(found, lambda pair: pair[0].split(".")[0]):
        page = API[package].lower().replace(" ", "_")
        entries = "\n".join(f".. {_directive(name)}:: dovision.{name}\n{_options(name)}" for _, name in pairs)
        pages[page] = pages.get(page, f"# {API[package]}\n") + f"\n```{{eval-rst}}\n{entries}```\n"
    return pages


def _directive(name: str) -> str:
    if name in ("CODE", "INPUT"):
        return "autodata"
    return "autoclass" if name[0].isupper() else "autofunction"


def _options(name: str) -> str:
    return "   :members:\n   :show-inheritance:\n\n" if _directive(name) == "autoclass" else "\n"


def configuration_pages() -> dict[str, str]:
    """Text of each page of the configuration reference, by the name of its group; `commands` has the commands' own."""
    groups = sorted(path for path in (ROOT / "conf").iterdir() if path.is_dir() and any(path.glob("*.yaml")))
    pages = {path.name: _yamls(f"{path.name}", sorted(path.glob("*.yaml"))) for path in groups}
    commands = [ROOT / "conf" / f"{command}.yaml" for command in COMMANDS]
    pages["figure"] = _yamls("figure", [ROOT / "conf" / "figure.yaml"])
    launchers = sorted((ROOT / "conf" / "hydra" / "launcher").glob("*.yaml"))
    return pages | {"commands": _yamls("commands", commands), "launcher": _yamls("hydra/launcher", launchers)}


def _yamls(title: str, paths: list[Path]) -> str:
    return f"# {title}\n" + "".join(f"\n## {path.stem}\n\n```yaml\n{path.read_text()}```\n" for path in paths)


def write(docs: Path) -> None:
    """Write all pages, and for each folder an index of them."""
    for folder, title, pages in (
        ("api", "API reference", api_pages()),
        ("configuration", "Every key of the configuration", configuration_pages()),
    ):
        target = docs / "reference" / folder
        target.mkdir(parents=True, exist_ok=True)
        tree = "\n".join(pages)
        index = f"# {title}\n\n{LEADS[folder]}\n\n```{{toctree}}\n:maxdepth: 2\n\n{tree}\n```\n"
        for name, text in {**pages, "index": index}.items():
            path = target / f"{name}.md"
            if not path.exists() or path.read_text() != text:  # what is as it was is not built again
                path.write_text(text)
