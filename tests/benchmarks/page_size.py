"""The page of a study of 500 trials: its bytes (6 MB at most) and the seconds until Chromium shows it (2 at most).

A simulated protocol study of 10 batch sizes with 480 evaluations a trial, 240,000 in all: `python -m
tests.benchmarks.page_size`. Exits with 1 where a limit is missed.
"""

import sys
import tempfile
import time
from pathlib import Path

from playwright.sync_api import sync_playwright

from cluster.report.page.page import page
from tests.benchmarks import setting
from tests.support.simulated import World, spec_of, study
from tests.support.stored import store

MOST_BYTES, MOST_SECONDS = 6_000_000, 2.0
BATCHES = [8, 16, 24, 32, 64, 96, 128, 256, 384, 512]


def main() -> None:
    """Make the study and its page, measure, print, judge."""
    print(setting.machine_line(), flush=True)
    rates = {"around": 0.01, "at": 32, "rule": "sqrt", "points": 5}
    axes = {"global_batch": BATCHES, "learning_rate": rates, "seeds": 20}
    spec = spec_of(axes=axes, evaluate_every={"examples": 256}, protocol={"screen_seeds": 6})
    with tempfile.TemporaryDirectory() as folder:
        tables = study(spec, World(run_deviation=0.03))
        summary = store(Path(folder), tables)
        began = time.perf_counter()
        text = page(summary, "simulated")
        made = time.perf_counter() - began
        file = Path(folder) / "page.html"
        file.write_text(text, encoding="utf-8")
        seconds, faults = _opened(file)
    size = len(text.encode())
    print(f"{tables[1].num_rows} trials, {tables[2].num_rows:,} evaluations: written in {made:.1f} s")
    setting.figure("page of 500 trials", f"{size / 1e6:.2f} MB", f"<= {MOST_BYTES / 1e6:g} MB")
    setting.figure("it opens in Chromium in", f"{seconds:.2f} s", f"<= {MOST_SECONDS:g} s")
    setting.figure("its errors and requests", f"{len(faults)}", "0")
    sys.exit(size > MOST_BYTES or seconds > MOST_SECONDS or bool(faults))


def _opened(file: Path) -> tuple[float, list[str]]:
    """Seconds until the page is loaded and painted, the least of three; what it said and asked for."""
    faults: list[str] = []
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(
            executable_path="/usr/bin/chromium",
            args=["--no-sandbox", "--disable-gpu", "--disable-background-networking"],
        )
        taken = []
        for _ in range(3):
            tab = browser.new_page(viewport={"width": 1280, "height": 900})
            tab.on("console", lambda message: faults.append(message.text))
            tab.on("pageerror", lambda error: faults.append(str(error)))
            tab.on("request", lambda request: request.url == file.as_uri() or faults.append(request.url))
            began = time.perf_counter()
            tab.goto(file.as_uri(), wait_until="load")
            tab.evaluate("() => new Promise((done) => requestAnimationFrame(() => setTimeout(done)))")
            taken.append(time.perf_counter() - began)
            tab.close()
        browser.close()
    return min(taken), faults


if __name__ == "__main__":
    main()
