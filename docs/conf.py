"""The site, built by `make docs` from these pages, the docstrings and conf/, without a network: Sphinx, MyST, furo."""

from __future__ import annotations

import re
import sys
from pathlib import Path
from typing import Any

from docutils import nodes
from docutils.utils.math.latex2mathml import tex2mathml

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

import site_pages  # noqa: E402

project = "dovision"
author = copyright = "dovision developers"
(version,) = re.findall(r'^version = "(.+)"', (HERE.parent / "pyproject.toml").read_text(), re.MULTILINE)
release = version
html_title = f"dovision {version}"

extensions = ["sphinx.ext.autodoc", "sphinx.ext.napoleon", "sphinx.ext.viewcode", "myst_nb", "sphinx_copybutton"]
exclude_patterns = ["_build"]

myst_enable_extensions = ["dollarmath", "attrs_inline"]
myst_heading_anchors = 3  # levels of headings that links can name
nb_execution_mode = "off"  # notebooks are stored with their outputs; `make gallery` runs them
nb_merge_streams = True

autodoc_typehints = "description"
autodoc_typehints_description_target = "documented"
autodoc_member_order = "bysource"
autodoc_preserve_defaults = True
napoleon_google_docstring = True
napoleon_numpy_docstring = False
default_role = "literal"  # `name` in a docstring is code, as in Markdown

html_theme = "furo"
html_static_path = ["_static"]
html_css_files = ["site.css"]
html_math_renderer = "mathml"  # which browsers draw themselves
html_theme_options = {"navigation_with_keys": True}
copybutton_exclude = ".linenos, .gp, .go"

# Pages outside docs/ and the pages of the site that include them.
OUTER = {"SECURITY": "security", "CHANGELOG": "changelog", "CONTRIBUTING": "contributing", "CODE_OF_CONDUCT": "conduct"}
OUTER_LINK = re.compile(rf"\]\((?:\.\./)*({'|'.join(OUTER)})\.md\)")
# Words of newcomers that a page does not use, by page: keywords, single words, by which the search finds it.
KEYWORDS = {
    "how-to/own_photo": "attention, CAM, explanation, heat, heatmap, occlusion, saliency",
    "how-to/explainers": "attention, attribution, CAM, DeepLIFT, faithfulness, heat, heatmap, importance, LIME, LRP, "
    "occlusion, rollout, saliency, SHAP, SmoothGrad",
    "how-to/units": "ablation, attention, concepts, erasing, features, filters, inpainting, interpretability, LIME, "
    "masking, mechanistic, neurons, occlusion, patches, patching, perturbation, pruning, SAE, segmentation, ViT",
    "how-to/refuters": "confounder, DoWhy, placebo, sanity",
    "how-to/attacks": "AutoAttack, perturbation, robustness",
    "how-to/chest_films": "DICOM, radiograph, radiology, xray",
    "concepts/method": "causality, counterfactual, masking, occlusion, treatment",
    "concepts/limits": "counterfactual, masking, inpainting",
}
SOURCE_LINK = re.compile(r"\[([^]]+)\]\((?:\.\./)+(?:src|conf|paper|checks)/[^)]*\)")


def on_site(app: Any, name: str, source: list[str]) -> None:
    """Let links to files of the repository lead to pages of the site, or be plain text; add a page's keywords."""
    source[0] = OUTER_LINK.sub(lambda found: f"](/project/{OUTER[found[1]]}.md)", source[0])
    source[0] = SOURCE_LINK.sub(r"`\1`", source[0])
    if words := KEYWORDS.get(name):
        source[0] = f"---\nmyst:\n  html_meta:\n    keywords: {words}\n---\n{source[0]}"


def on_include(app: Any, path: Path, parent: str, content: list[str]) -> None:
    """The same in an included file, whose own links begin at the root of the repository."""
    on_site(app, parent, content)
    content[0] = content[0].replace("](docs/", "](/")


def as_markup(app: Any, what: str, name: str, thing: object, options: object, lines: list[str]) -> None:
    """Keep a docstring's diagrams, indented after an empty line, as they are, and its bars and stars as characters."""
    made: list[str] = []
    diagram = False
    for line, before in zip(lines, ["", *lines], strict=False):
        indented = line.startswith("    ")
        if diagram and line and not indented:
            diagram = False
        elif indented and not before and not diagram and not any(each.endswith(":") for each in made[-2:-1]):
            diagram = True
            made += ["::", ""]
        made.append(line if diagram or line.lstrip().startswith(">>>") else re.sub(r"([|*])", r"\\\1", line))
    lines[:] = made


def visit_math(self: Any, node: nodes.math) -> None:
    """A formula in the text."""
    self.body.append(tex2mathml(node.astext()))
    raise nodes.SkipNode


def visit_math_block(self: Any, node: nodes.math_block) -> None:
    """A formula on a line of its own."""
    self.body.append(f'<div class="math">{tex2mathml(node.astext(), as_block=True)}</div>')
    raise nodes.SkipNode


def setup(app: Any) -> None:
    """Write the pages that are made from docstrings and conf/, and connect the rest."""
    site_pages.write(HERE)
    app.add_html_math_renderer("mathml", (visit_math, None), (visit_math_block, None))
    app.connect("autodoc-process-docstring", as_markup, priority=1)  # before napoleon
    app.connect("source-read", on_site)
    app.connect("include-read", on_include)
