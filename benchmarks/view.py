"""Time from a stroke of the brush to the numbers on the page of dovision-view, in a browser, at 224 pixels.

python benchmarks/view.py                          a row a network, with random weights, beside a plain pass
python benchmarks/view.py --networks vgg16 -n 50   others, by torchvision's names or timm:NAME; 50 strokes
python benchmarks/view.py --attack                 also while PGD attacks the image
"""

from __future__ import annotations

import argparse
import functools
import statistics
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import torch
import uvicorn
from playwright.sync_api import Page, sync_playwright

import dovision as dv
from dovision.config.settings import example_photograph
from dovision.identity.dependencies import CLASSIFIER
from dovision.jobs.view import listening
from dovision.training.model_cache import FittedModel
from dovision.view.opened_network import OpenedNetwork
from dovision.view.server import application
from dovision.view.view_session import ViewSession
from dovision.view.worker import Worker

NETWORKS = ("resnet50", "timm:tf_efficientnet_lite0", "densenet121")
CLASSES = [str(number) for number in range(1000)]
FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]


def opened(name: str) -> OpenedNetwork:
    """A network with random weights, and a photograph."""
    library, _, own = name.rpartition(":")
    shape, made = (3, 224, 224), dv.timm_model if library == "timm" else dv.torchvision_model
    classifier = made(own, False if library == "timm" else None, shape, "multiclass", CLASSES, None, None)
    images = dv.component("dataset", "image_folder", {"root": str(example_photograph())})
    images.take_classes(classifier.task)
    dataset = {"_target_": "", "root": ""}
    settings: Any = SimpleNamespace(seed=0, checkpoint=None, fits_classifier=False, dataset=dataset)
    fitted = FittedModel(classifier.eval(), Path("random.ckpt"), "", {}, {}, {})
    return OpenedNetwork(own, settings, images, "test", {CLASSIFIER: fitted})


def plain_pass(network: OpenedNetwork) -> float:
    """Milliseconds of a forward pass of one image, the median of 5."""
    image, seconds = torch.rand(1, *network.shape), []
    with torch.no_grad():
        for _ in range(6):
            begun = time.perf_counter()
            network.classifier(image)
            seconds.append(time.perf_counter() - begun)
    return 1000 * statistics.median(seconds[1:])


@contextmanager
def attack(page: Page) -> Iterator[None]:
    """An attack that goes on for as long as the block.

    Raises:
        RuntimeError: it has ended before.
    """
    page.select_option("#attack", "pgd")
    page.locator("#attack-settings input[data-key=steps]").fill("100000")
    page.locator("#eps").fill("4/255")
    page.locator("#eps").press("Enter")
    yield
    if not page.locator("#attack-state").inner_text():
        raise RuntimeError("the attack has ended before the strokes.")
    page.locator("#eps").fill("0/255")
    page.locator("#eps").press("Enter")
    page.wait_for_selector("#attack-state:empty", state="attached", timeout=120_000)


def strokes(page: Page, count: int) -> list[float]:
    """Milliseconds from each of so many strokes to its numbers, with the map of the grid measured already."""
    page.wait_for_selector("#clean-caption[data-done=true]", timeout=600_000)
    before = int(page.locator("#time").get_attribute("data-strokes") or 0)
    frame = page.locator("#region").bounding_box()
    assert frame is not None
    draw = torch.rand(count, 2, generator=torch.Generator().manual_seed(0)).tolist()
    times = []
    for number, (x, y) in enumerate(draw, before + 1):
        page.mouse.click(frame["x"] + x * frame["width"], frame["y"] + y * frame["height"])
        page.wait_for_function("count => document.getElementById('time').dataset.strokes >= count", arg=number)
        times.append(float(page.locator("#time").inner_text().removesuffix(" ms")))
    return times


def summary(times: list[float]) -> str:
    """The median and the slowest."""
    return f"median {statistics.median(times):.0f} ms, slowest {max(times):.0f} ms"


def main() -> None:
    """Print a row a network."""
    parser = argparse.ArgumentParser(description="Time from brush to numbers.")
    parser.add_argument("--networks", nargs="+", default=NETWORKS)
    parser.add_argument("-n", type=int, default=20, help="strokes")
    parser.add_argument("--attack", action="store_true", help="time strokes during an attack as well")
    parser.add_argument("--chromium", default="/usr/bin/chromium")
    asked = parser.parse_args()
    with sync_playwright() as driver:
        browser = driver.chromium.launch(executable_path=asked.chromium, args=FLAGS)
        for name in asked.networks:
            network, worker, own = opened(name), Worker(), listening("127.0.0.1", 0)
            alone = worker.ask(functools.partial(plain_pass, network))
            app = application(ViewSession(network, worker.check, worker.begin), worker, "token")
            server = uvicorn.Server(uvicorn.Config(app, log_level="warning", lifespan="off"))
            thread = threading.Thread(target=server.run, kwargs={"sockets": [own]})
            thread.start()
            page = browser.new_page()
            page.goto(f"http://127.0.0.1:{own.getsockname()[1]}/token/")
            print(
                f"{network.title}, {worker.ask(torch.get_num_threads)} threads: {summary(strokes(page, asked.n))};",
                end=" ",
            )
            print(f"a plain pass {alone:.0f} ms", flush=True)
            if asked.attack:
                with attack(page):
                    times = strokes(page, asked.n)
                print(f"  while attacked: {summary(times)}", flush=True)
            page.close()
            server.should_exit = True
            thread.join()
            worker.close()
        browser.close()


if __name__ == "__main__":
    main()
