"""Pictures of the pages that people see, to be looked at: five kinds of run and the live view, in five forms each.

    python checks/screenshots.py             in outputs/pages: the runs that are not there yet (some minutes), pictures
    python checks/screenshots.py sweep view  of some kinds alone
    python checks/screenshots.py --quick     of the photograph alone

Forms: 1280, 1920 and 390 pixels wide, dark, printed (PDF). Needs playwright and chromium.
Beside each picture a line says how far the page scrolls and what can be measured to be wrong: text wider than the
screen, or smaller than 11 pixels. Exit code 1 if anything is.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pandas as pd
import torch
from playwright.sync_api import sync_playwright

from dovision.config.settings import example_photograph
from dovision.store.thumbnails import save_image

GRID = ("intervention=pixel_grid", "intervention.rows=4", "intervention.columns=4")
DIGITS = ("dataset=digits", "training.classifier.epochs=4", "evaluation.images=60")
ATTACKS = ("random_sign", "fgsm", "pgd")
DETECTION = [f"+attack@detection.attacks.{name}={name}" for name in ATTACKS]
DETECTION += [f"detection.attacks.{name}.eps=[0.1]" for name in ATTACKS]
DETECTION += ["detector=[effect_profile,max_softmax,feature_squeezing]", "detection.reference=feature_squeezing"]
SWEEP = ("intervention.rows=2,4", "intervention.columns=${intervention.rows}", "attack=fgsm,pgd", "seed=0,1")
RUNS = {
    "demo": ("experiment=demo",),
    "sweep": ("-m", *DIGITS, GRID[0], *SWEEP, "attack.eps=8/255,32/255"),
    "detection": (*DIGITS, *GRID, "attack=pgd", "attack.eps=[8/255,32/255]", *DETECTION),
    "classes": (
        "experiment=photo",
        f"dataset.root={example_photograph()}",
        "intervention.rows=7",
        "intervention.columns=7",
    ),
    "labels": ("dataset=table", "dataset.task=multilabel", "dataset.shape=[1,64,64]", *GRID, "attack=fgsm"),
}
KINDS = (*RUNS, "view")
LABELS = ("Atelectasis", "Cardiomegaly", "Effusion", "Infiltration", "Mass", "Nodule", "Pneumonia")
LABELS += ("Pneumothorax", "Consolidation", "Edema", "Emphysema", "Fibrosis", "Pleural_Thickening", "Hernia")
FORMS: dict[str, dict[str, Any]] = {
    "1280": {"viewport": {"width": 1280, "height": 900}},
    "1920": {"viewport": {"width": 1920, "height": 1080}},
    "390": {"viewport": {"width": 390, "height": 844}, "device_scale_factor": 2},
    "dark": {"viewport": {"width": 1280, "height": 900}, "color_scheme": "dark"},
    "print": {"viewport": {"width": 1280, "height": 900}},
}
WRONG = """() => {
  const found = [], root = document.documentElement, seen = (each) => each.checkVisibility();
  if (root.scrollWidth > root.clientWidth) found.push(`scrolls sideways to ${root.scrollWidth}`);
  for (const each of document.body.querySelectorAll('*')) {
    const own = [...each.childNodes].some((child) => child.nodeType === 3 && child.data.trim());
    if (!own || !seen(each) || each.closest('svg')) continue;
    const size = parseFloat(getComputedStyle(each).fontSize);
    if (size < 11) found.push(`${size} px: ${each.textContent.trim().slice(0, 40)}`);
  }
  return [...new Set(found)];
}"""


def films(folder: Path) -> Sequence[str]:
    """Settings of 120 films of 14 labels, each a bright cell of its own; made if they are not there."""
    folder.mkdir(exist_ok=True)
    draw = torch.Generator().manual_seed(0)
    has = torch.rand(120, len(LABELS), generator=draw) < 0.2
    rows = []
    for number, own in enumerate(has.tolist()):
        image = 0.2 + 0.2 * torch.rand(1, 64, 64, generator=draw)
        for label in (label for label, there in enumerate(own) if there):
            image[:, 16 * (label // 4) :, 16 * (label % 4) :][:, 2:14, 2:14] += 0.4
        save_image(folder / f"{number:03}.png", image)
        names = "|".join(name for name, there in zip(LABELS, own, strict=True) if there)
        split = "train" if number < 70 else "val" if number < 95 else "test"
        rows.append({"path": f"{number:03}.png", "label": names, "patient": number, "split": split})
    pd.DataFrame(rows).to_csv(folder / "metadata.csv", index=False)
    return (f"dataset.root={folder}", f"dataset.classes=[{','.join(LABELS)}]")


def command(module: str, *words: str) -> None:
    """Run a command of the package; its output is that of this program."""
    subprocess.run([sys.executable, "-m", f"dovision.cli.{module}", *words], check=True)


def drawn(kind: str, folder: Path) -> Path:
    """The page of a kind of run, which is made if it is not there."""
    if not list((folder / kind).glob("*/summary.json")):  # of a run that is completed
        more = films(folder / "films") if kind == "labels" else ()
        command("evaluate", *RUNS[kind], *more, f"name={kind}", f"output_root={folder}")
    command("report", f"sweep={folder / kind}")
    return folder / kind / "report" / "index.html"


@contextmanager
def live_view(kind: str, folder: Path) -> Iterator[str]:
    """The address of a page; of the live view while it is served."""
    if kind != "view":
        yield drawn(kind, folder).as_uri()
        return
    words = [sys.executable, "-m", "dovision.cli.view", "port=0", f"output_root={folder}"]
    with subprocess.Popen(words, stdout=subprocess.PIPE, text=True) as server:
        assert server.stdout is not None
        try:
            yield server.stdout.readline().split()[0]
        finally:
            server.terminate()


def brush(page: Any) -> None:
    """A stroke over the middle of the image, and an attack."""
    page.wait_for_selector("#clean-caption[data-done=true]", timeout=120_000)
    page.locator("#eps-slider").fill("4")
    page.wait_for_selector("#attacked-caption[data-done=true]", timeout=120_000)
    page.locator("#region").scroll_into_view_if_needed()
    frame = page.locator("#region").bounding_box()
    for number, share in enumerate((0.4, 0.45, 0.5, 0.55, 0.6)):
        page.mouse.move(frame["x"] + share * frame["width"], frame["y"] + 0.5 * frame["height"])
        if not number:
            page.mouse.down()
    page.wait_for_function("() => document.getElementById('time').dataset.strokes >= 5")


def picture(browser: Any, address: str, kind: str, form: str, folder: Path) -> list[str]:
    """Take the picture; what is wrong with the page."""
    context = browser.new_context(**FORMS[form])
    page = context.new_page()
    page.goto(address)
    if kind == "view":
        brush(page)
    if form == "print":
        page.pdf(path=folder / f"{kind}_print.pdf", format="A4", print_background=True)
    else:
        page.screenshot(path=folder / f"{kind}_{form}.png")
        page.screenshot(path=folder / f"{kind}_{form}_whole.png", full_page=True)
    found = page.evaluate(WRONG)
    print(f"{kind} {form}: {page.evaluate('document.documentElement.scrollHeight')} pixels high; {found or 'nothing'}")
    context.close()
    return list(found)


def main() -> int:
    """Make what is not there, and take all pictures."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("kinds", nargs="*", help=", ".join(KINDS))
    parser.add_argument("--folder", type=Path, default=Path("outputs/pages"))
    parser.add_argument("--quick", action="store_true")
    parser.add_argument("--chromium", default="/usr/bin/chromium")
    asked = parser.parse_args()
    if unknown := set(asked.kinds) - set(KINDS):
        parser.error(f"kinds must be some of {', '.join(KINDS)}, got {', '.join(sorted(unknown))}")
    asked.folder.mkdir(parents=True, exist_ok=True)
    folder, wrong = asked.folder.resolve(), []
    kinds = ["classes"] if asked.quick else asked.kinds or KINDS
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=asked.chromium, args=["--no-sandbox"])
        for kind in kinds:
            with live_view(kind, folder) as address:
                wrong += [found for form in FORMS for found in picture(browser, address, kind, form, folder)]
        browser.close()
    return int(bool(wrong))


if __name__ == "__main__":
    sys.exit(main())
