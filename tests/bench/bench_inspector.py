"""How fast the inspector is in a browser on a study of 32 runs x 292 images of 224 px: opening, slider, memory.

`python tests/bench/bench_inspector.py` (part of `make bench`); the study is made up in a temporary folder.
"""

import json
import statistics
import sys
import tempfile
from pathlib import Path

import numpy as np

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "helpers"))  # as pytest does, see pyproject.toml

from lab import CHROMIUM, run_notebook, running
from made_up_study import write_run
from playwright.sync_api import sync_playwright

from lib import PROJECT, config, outputs, packs
from lib.analysis import paper

IMAGES, SIZE, MOVES = 292, 224, 60
WAIT = "() => document.querySelector('.iou-inspector')?.dataset.painted"
# Moves the slider as a hand does, one event each, and waits until the picture is painted and the frame has ended.
MOVE = """async moves => {
    const root = document.querySelector(".iou-inspector"), slider = root.querySelector("input[aria-label=Threshold]");
    const times = [];
    for (let i = 0; i < moves; i++) {
        const value = (0.2 + 0.6 * i / moves).toFixed(2), k = Math.floor(255 * value + 1e-9), start = performance.now();
        if (JSON.parse(root.dataset.painted)[1] === k) continue;
        slider.value = value;
        slider.dispatchEvent(new Event("input", { bubbles: true }));
        await new Promise(done => {
            const look = () => JSON.parse(root.dataset.painted)[1] === k ? done() : setTimeout(look);
            look();
        });
        await new Promise(requestAnimationFrame);
        times.push(performance.now() - start);
    }
    return times; }"""


def write_study(study: Path) -> None:
    """All 32 runs with one set of made-up maps (blurred discs), linked into each, and pictures of the test parts."""
    random, axis = np.random.default_rng(0), np.arange(SIZE)
    x, y, r = random.uniform(60, 160, (3, IMAGES, 1, 1)) * np.array([1, 1, 0.5]).reshape(3, 1, 1, 1)
    distance = np.hypot(axis - x, axis[:, None] - y) - r
    maps = np.uint8(255 / (1 + np.exp(distance / 4 + random.normal(size=(IMAGES, 1, 1)))))
    labels, ids = np.uint8(distance < 0), [f"Made_Up_{i:04}" for i in range(IMAGES)]
    images = random.integers(0, 256, (IMAGES, SIZE, SIZE, 3), "uint8")
    np.savez_compressed(study / "maps.npz", probabilities=maps, ids=ids)
    (study / outputs.PICTURES).mkdir()
    for dataset in paper.DATASETS:
        np.savez(
            study / outputs.PICTURES / f"{dataset}.npz",
            images=packs.differences(images),
            labels=labels,
            ids=ids,
            digest="ff",
        )
    table = "id,accuracy,iou,iou_soft,tp,fp,fn,tn\n" + "".join(f"{name},0.9,0.8,0.7,1,1,1,1\n" for name in ids)
    for cell in config.CELLS:
        for loss in paper.LOSSES:
            write_run(study, cell, loss)
            folder = study / cell.run_id(loss)
            record = json.loads((folder / "record.json").read_text())
            record["params"]["image_size"] = SIZE
            (folder / "record.json").write_text(json.dumps(record))
            (folder / "per_image.csv").write_text(table)
            (folder / "probabilities.npz").unlink()
            (folder / "probabilities.npz").hardlink_to(study / "maps.npz")


def main() -> int:
    if CHROMIUM is None:
        print("inspector: no Chromium; `make browser` installs it on Debian")
        return 0
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        root, study = Path(folder) / "lab", Path(folder) / "study"
        root.mkdir()
        study.mkdir()
        write_study(study)
        with running(root, str(study)) as address:
            browser = playwright.chromium.launch(executable_path=CHROMIUM)
            page = browser.new_page(viewport={"width": 1280, "height": 1000})
            page.set_default_timeout(60_000)
            run_notebook(page, address("inspect.ipynb"))
            page.evaluate("() => { window.begun = performance.now(); }")
            page.wait_for_function(WAIT, polling=20)
            opened = page.evaluate("() => performance.now() - window.begun") / 1000
            page.locator(".iou-inspector").evaluate("element => element.scrollIntoView()")
            page.wait_for_timeout(1000)
            times = page.evaluate(MOVE, MOVES)
            page.locator(".jp-CodeCell").last.locator(".cm-content").click()
            page.keyboard.press("Control+a")
            page.keyboard.type(
                "import resource; print('MiB', resource.getrusage(resource.RUSAGE_SELF).ru_maxrss // 1024)"
            )
            page.keyboard.press("Control+Enter")
            memory = page.locator(".jp-OutputArea-output pre", has_text="MiB").last.inner_text()
            browser.close()
    rows = [
        ("opens, from Run All Cells to the first picture, imports too", f"{opened:.2f} s", "2 s"),
        (
            f"slider moved to picture painted, median of {len(times)} (95th percentile)",
            f"{statistics.median(times):.0f} ms ({statistics.quantiles(times, n=20)[-1]:.0f} ms)",
            "50 ms",
        ),
        ("memory of the kernel, largest", f"{memory.split()[-1]} MiB", "1024 MiB"),
    ]
    print(f"\ninspector, 32 runs x {IMAGES} images of {SIZE} px, headless Chromium")
    for what, value, wanted in rows:
        print(f"{what:70}{value:>20}   wanted: at most {wanted}")
    path = PROJECT / "outputs" / "bench" / "inspector.json"
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(json.dumps({what: value for what, value, _ in rows}, indent=1) + "\n")
    return 0


if __name__ == "__main__":
    sys.exit(main())
