"""Write the tables of components and of run files in docs/, from conf/ and dovision.results.run_files,
and the names of dovision for type checkers and editors, `src/dovision/__init__.pyi`:

python docs/component_tables.py
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from pathlib import Path

import dovision
from dovision.results.run_files import RUN_FILES
from dovision.results.tables import RunTable

ROOT = Path(__file__).resolve().parents[1]
COMMAND = "python docs/component_tables.py"
KINDS = {  # of which docs/extend has an example
    "dataset": "images, their splits, and what is known of them",
    "model": "a network with its normalisation inside",
    "autoencoder": "inserted after a layer, for interventions on its code",
    "intervention": "do(u): where, which units, and the new value",
    "attack": "adversarial images, a condition in which effects are measured",
    "explainer": "a map of the evidence for a class",
    "detector": "separates attacked images from clean ones",
    "figure": "drawn of runs on the page, into files and for dashboards",
    "logger": "where curves, numbers and figures go, one or several: `logger=[csv,wandb]`",
}
PIECES = {  # of a component, or of a run
    "fill": "what a region of the image is painted with: `fill@intervention.fill=blur`",
    "transform": "what is made of a whole image: `+transform@intervention.transforms.NAME=jpeg`",
    "value": "what a unit of an activation is set to: `value@intervention.value=mean`",
    "loss": "what an attack raises: `loss@attack.loss=margin`",
    "training": "how classifier and autoencoder are fitted",
    "scheduler": "of the step size of a fit: `scheduler@training.classifier.scheduler=cosine`",
    "augmentation": "random transforms of training images",
    "trainer": "Lightning's trainer",
    "debug": "try a command out: `debug=default`",
    "paths": "folders of a machine",
    "callbacks": "of Lightning, in fits and tests: `callbacks=[early_stopping,lr_monitor]`",
}
SHORT = re.compile(
    r"(<!-- table of (\w+), made by `python docs/component_tables.py` -->\n).*?(<!-- end -->)", re.DOTALL
)
CAPTUM = "from dovision import captum as captum\n"
HEAD = f"""# Configuration groups

Made from `conf/` by `{COMMAND}`; a test fails when it is out of date. Choose a component by
`group=component` (but of `figure` all are drawn), sweep by `-m group=component,component`, and see what a command
would run by `--cfg job`.
"""


SETTINGS = {  # what a setting of a component does, where one might look for a file
    "augmentation": """
| for | write |
| --- | --- |
| any transform of torchvision | `augmentation._target_=torchvision.transforms.v2.TrivialAugmentWide` |
""",
    "callbacks": """
| for | write |
| --- | --- |
| any callback of Lightning | `+callbacks.device._target_=pytorch_lightning.callbacks.DeviceStatsMonitor` |
""",
    "debug": """
| for | write |
| --- | --- |
| one batch of training, validation and test each | `debug=default trainer.fast_dev_run=true` |
| a few batches | `debug=default trainer.limit_train_batches=3 trainer.limit_test_batches=2` |
| the same three batches by heart | `debug=default trainer.overfit_batches=3 training.classifier.epochs=20` |
| where time goes | `debug=default trainer.profiler=simple` |
""",
    "explainer": """
Of any other intervention that has regions, an effect map is \
`explainer=effect_map intervention@explainer.effect_map.intervention=sliding_window \
'~explainer.effect_map.intervention.rows' '~explainer.effect_map.intervention.columns'`; \
two beside each other: as in the yaml of `effect_map_combined`.

| for | write |
| --- | --- |
| windows that overlap | `intervention@explainer.effect_map.intervention=sliding_window`, as above |
| superpixels | `intervention@explainer.effect_map.intervention=segments`, as above |
| cells with soft edges | `intervention@explainer.effect_map.intervention=edge_control`, as above, and \
`explainer.effect_map.intervention.frame=0 explainer.effect_map.intervention.soft=0.25` |
| KernelSHAP | `explainer=captum explainer.captum.method=KernelShap explainer.captum.cells=7 \
explainer.captum.scale=log_odds 'explainer.captum.arguments={n_samples: 500, baselines: 0.0}'` |
| SmoothGrad | `explainer=captum explainer.captum.method=Saliency explainer.captum.absolute=true \
'explainer.captum.arguments={abs: false, nt_samples: 50, stdevs: 0.15}'` |
""",
    "detector": """
| for | write |
| --- | --- |
| effects on the channels of an autoencoder's code | `detector=effect_profile \
intervention@detector.effect_profile.interventions.grid=activation` |
""",
    "autoencoder": """
| for | write |
| --- | --- |
| 3 x 3 convolutions after a deeper layer | `autoencoder=conv_1x1 autoencoder.after=features.transition1 \
'autoencoder.channels=[128,32,16,32,128]' autoencoder.code=2 autoencoder.kernel_size=3` |
""",
    "intervention": """
| for | write |
| --- | --- |
| channels of an autoencoder's code | `intervention=activation` |
| latents of a dictionary | `autoencoder=topk_sae intervention=activation intervention.unit=latent` |
| channels of a layer | `intervention=activation intervention.site=LAYER` |
| rotations and shifts drawn for each image | `intervention=transform \
+transform@intervention.transforms.move0=random_affine` |
| the transforms of feature squeezing for photographs | `intervention=transform intervention.transforms.bits1.bits=5 \
+transform@intervention.transforms.non_local_means=non_local_means` |
| sixteen transforms of natural images | those of `effect_consistency_natural` in \
`paper/conf/experiment/cifar10_detection.yaml` |
""",
    "trainer": """
| for | write |
| --- | --- |
| a processor, an NVIDIA or an Apple GPU | `trainer.accelerator=cpu`, `gpu`, `mps` |
| several devices | `trainer.devices=2 trainer.strategy=ddp` |
""",
    "training": """
| for | write |
| --- | --- |
| a first look | `training.classifier.epochs=2 training.classifier.batch_size=64 training.autoencoder.epochs=1` |
""",
}


def summary(path: Path) -> str:
    """The first line of a yaml that says what it is."""
    lines = path.read_text().splitlines()
    return next(line[2:] for line in lines if line.startswith("# ") and not line.startswith("# @package"))


def table(columns: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """A table of Markdown; a bar in a cell does not begin the next one."""
    cells = [list(columns), ["---" for _ in columns], *([cell.replace("|", "\\|") for cell in row] for row in rows)]
    return "".join(f"| {' | '.join(row)} |\n" for row in cells).replace("|  |", "| |")


def components(group: str) -> list[tuple[str, str]]:
    """Name and summary of each component of a group: a file each, or all in one file, each below its summary."""
    whole = ROOT / "conf" / f"{group}.yaml"
    if whole.is_file():
        return sorted((name, text) for text, name in re.findall(r"^# (.+)\n(\w+):$", whole.read_text(), re.MULTILINE))
    return [(path.stem, summary(path)) for path in sorted((ROOT / "conf" / group).glob("*.yaml"))]


def all_groups() -> str:
    """docs/configuration.md: each component of each group, and what it is."""
    folders = {folder.name for folder in (ROOT / "conf").iterdir() if folder.is_dir() and folder.name != "hydra"}
    groups = sorted(folders | {"figure"})
    rows = {group: [(f"`{name}`", text) for name, text in components(group)] for group in groups}
    return "\n".join(
        [HEAD, *(f"## {group}\n\n{table(['component', ''], rows[group])}{SETTINGS.get(group, '')}" for group in groups)]
    )


def names() -> str:
    """The table of docs/reference/components.md: the names of each group's components."""
    named = {group: ", ".join(f"`{name}`" for name, _ in components(group)) for group in KINDS | PIECES}
    rows = [(f"`{group}`", what, named[group]) for group, what in (KINDS | PIECES).items()]
    return table(["group", "what it is", "components"], rows)


def run_files() -> str:
    """The table of docs/reference/run_directory.md: what a run leaves."""
    digest = {True: "yes", False: ""}
    rows = [(f"`{file.path}`", file.meaning, digest[file.digested], file.restart) for file in RUN_FILES]
    return table(["file", "what it is", "digest in run.json", "if the run was stopped"], rows)


def run_columns() -> str:
    """The table of docs/reference/run_directory.md: the columns of each table of a run."""
    files = [file for file in RUN_FILES if isinstance(file, RunTable)]
    columns = [(f"`{file.path}`", names, meaning) for file in files for names, (_, meaning) in file.columns.items()]
    rows = [(path, ", ".join(f"`{name}`" for name in names.split()), meaning) for path, names, meaning in columns]
    return table(["table", "columns", "what they are"], rows)


def public_names() -> str:
    """src/dovision/__init__.pyi: the home of each public name."""
    homes = sorted(dovision._homes().items(), key=lambda item: (item[1], _isort_key(item[0])))
    lines = [f"from dovision.{home} import {name} as {name}\n" for name, home in homes]
    return "".join([f"# Made by `{COMMAND}`; a test fails when it is out of date.\n", CAPTUM, *lines])


def _isort_key(name: str) -> tuple[int, str]:
    """Constants, then classes, then functions, as ruff sorts them."""
    return (0 if name.isupper() else 1 if name[0].isupper() else 2), name


TABLES = {"groups": names, "files": run_files, "columns": run_columns}


def pages() -> dict[Path, str]:
    """Content of each page, by its path."""
    pages = {ROOT / "docs" / "configuration.md": all_groups()}
    pages[ROOT / "src" / "dovision" / "__init__.pyi"] = public_names()
    for name in ("docs/reference/components.md", "docs/reference/run_directory.md"):
        text = (ROOT / name).read_text()
        pages[ROOT / name] = SHORT.sub(lambda found: found[1] + TABLES[found[2]]() + found[3], text)
    return pages


if __name__ == "__main__":
    for path, text in pages().items():
        path.write_text(text)
