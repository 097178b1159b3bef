"""Studies to look at, and one browser for all tests of the page: Debian's Chromium, without a network."""

import json
import math
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc
import pytest
from playwright.sync_api import Browser, Page, expect, sync_playwright

from cluster.report.page.page import page as page_of
from cluster.summary.store import Summary
from tests.support.simulated import World, spec_of, study
from tests.support.stored import changed, store

NAMES = ("whole", "hostile", "grid", "running", "language", "regression", "screening")
CLASSES = ["arts", "history of the world until now", "sport", "technology"]
ALERT = "</script></td><script>alert(1)</script><img src=x onerror=alert(1)>"


@pytest.fixture(scope="session")
def summary(tmp_path_factory: pytest.TempPathFactory) -> Summary:
    """Seven studies: whole, hostile (what people named is markup), grid (no protocol), running, language, regression,
    and screening, in which no trial counts yet and one is under way.
    """
    folder = tmp_path_factory.mktemp("summary")
    studies, trials, evaluations = study(spec_of(target={"validation_loss": 0.8}), World(run_deviation=0.03))
    random = np.random.default_rng(0)
    scales = [20 * math.sqrt(update) * math.exp(0.3 * random.normal()) for update in evaluations["update"].to_pylist()]
    evaluations = changed(evaluations, noise_scale=[scale if n % 3 else None for n, scale in enumerate(scales)])
    trials = changed(trials, peak_memory_bytes=[2**30 + batch for batch in trials["global_batch"].to_pylist()])
    evaluations = changed(evaluations, **metrics(evaluations))
    trials = changed(trials, test_classes=[by_class(batch) for batch in trials["global_batch"].to_pylist()])
    studies = changed(studies, label_names=json.dumps(CLASSES), task="classification")
    store(folder, (studies, trials, evaluations), study="whole")

    spec = json.loads(studies["spec_json"][0].as_py()) | {"data": ALERT, "model": {"factory": ALERT}}
    states = [*["FAILED", "OUT_OF_MEMORY"], *trials["state"].to_pylist()[2:]]
    hostile = changed(trials, error=ALERT, node_type=ALERT, kernel_path=ALERT, code_version=ALERT, state=states)
    labels = json.dumps([ALERT, *CLASSES[1:]])
    named = changed(studies, spec_json=json.dumps(spec), data=ALERT, data_hash=ALERT, label_names=labels)
    store(folder, (named, hostile, evaluations), study="hostile")

    kept = trials.slice(0, 34)
    seen = evaluations.filter(pc.is_in(evaluations["trial_id"], kept["trial_id"].combine_chunks()))
    store(folder, (changed(studies, trials=90), kept, seen), study="running")

    axes = {"global_batch": [8, 16, 17, 32, 64, 512], "learning_rate": 0.01, "seeds": 2}
    plain = spec_of(protocol=None, target=None, margin=None, axes=axes)
    tables = study(plain, World(usd_per_second=None))
    store(folder, (changed(tables[0], task="classification"), *tables[1:]), study="grid")

    rates, optimizers = [0.003, 0.01, 0.03], ["adam", "sgd"]
    axes = {"global_batch": [16, 64, 256], "learning_rate": rates, "seeds": 2, "optimizer": optimizers}
    tables = study(spec_of(task="language_model", axes=axes), World(diverging=frozenset({256})))
    store(folder, (changed(tables[0], task="language_model"), *tables[1:]), study="language")

    known = spec_of(task="regression", target={"validation_loss": 0.8})
    tables = study(known, World(run_deviation=0.03))
    store(folder, (changed(tables[0], task="regression", baseline_loss=2.1), *tables[1:]), study="regression")
    screening(Summary(str(folder)), folder, (changed(studies, trials=90), trials, evaluations))
    return Summary(str(folder))


def metrics(evaluations: pa.Table) -> dict[str, list[float]]:
    """A training loss and an accuracy for each evaluation."""
    losses = evaluations["validation_loss"].to_pylist()
    return {
        "training_loss": [loss * 0.7 for loss in losses],
        "validation_accuracy": [1 / (1 + loss) for loss in losses],
    }


def by_class(batch: int) -> str:
    """The record of a run: larger batches confuse more."""
    crossed = [[0 if one != other else 40 for other in range(4)] for one in range(4)]
    crossed[1][2], crossed[1][1] = batch // 20, 40 - batch // 20
    return json.dumps({"schema_version": 1, "split": "test", "confusion": crossed})


def screening(summary: Summary, folder: Path, tables: tuple[pa.Table, pa.Table, pa.Table]) -> None:
    """The first trials of a screen, and one under way that has been evaluated a few times."""
    studies, trials, evaluations = tables
    of_screen = trials.filter(pc.equal(trials["phase"], "screen"))
    kept, row = of_screen.slice(0, 6), of_screen.slice(6, 1).to_pylist()[0]
    seen = evaluations.filter(pc.is_in(evaluations["trial_id"], kept["trial_id"].combine_chunks()))
    store(folder, (studies, kept, seen), study="screening")
    begun = ("global_batch", "learning_rate", "optimizer", "dtype", "settings", "seed", "phase", "started_at")
    summary.attempt_started("screening", row["trial_id"], 1, {name: row[name] for name in begun})
    of_row = evaluations.filter(pc.equal(evaluations["trial_id"], row["trial_id"])).slice(0, 5).to_pylist()
    summary.write_evaluations([{**one, "study": "screening"} for one in of_row], part=0)


@pytest.fixture(scope="package")
def browser() -> Iterator[Browser]:
    """Chromium, headless. It ends with these tests: beside it, `asyncio.run` of any other test would be refused."""
    # On a busy machine a page takes longer than the usual five seconds.
    expect.set_options(timeout=30_000)
    with sync_playwright() as playwright:
        flags = ["--no-sandbox", "--disable-gpu", "--disable-background-networking"]
        running = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=flags)
        yield running
        running.close()


@dataclass
class Opened:
    """A page in the browser, and what it did besides being shown: all of it faults."""

    page: Page
    faults: list[str] = field(default_factory=list)


Open = Callable[..., Opened]


@pytest.fixture(scope="session")
def files(summary: Summary, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The pages as files."""
    folder = tmp_path_factory.mktemp("pages")
    for name in NAMES:
        refresh = 3600 if name in ("running", "screening") else None
        (folder / f"{name}.html").write_text(page_of(summary, name, refresh_seconds=refresh), encoding="utf-8")
    return folder


@pytest.fixture
def open_page(browser: Browser, files: Path) -> Iterator[Open]:
    """Open a study's page from its file; keywords are those of a browser's context. Faults fail the test."""
    opened: list[Opened] = []

    def open_one(name: str, *, width: int = 1280, **keywords: object) -> Opened:
        context = browser.new_context(viewport={"width": width, "height": 900}, **keywords)  # type: ignore[arg-type]
        one = Opened(context.new_page())
        one.page.on("console", lambda message: one.faults.append(f"console: {message.text}"))
        one.page.on("pageerror", lambda error: one.faults.append(f"error: {error}"))
        one.page.on("dialog", lambda dialog: (one.faults.append(f"dialog: {dialog.message}"), dialog.dismiss()))
        address = (files / f"{name}.html").as_uri()
        one.page.on("request", lambda request: request.url == address or one.faults.append(f"asked for {request.url}"))
        one.page.goto(address)
        opened.append(one)
        return one

    yield open_one
    for one in opened:
        one.page.context.close()
    assert [one.faults for one in opened] == [[] for _ in opened]
