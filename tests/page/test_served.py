"""`serve` in a browser: from the list to a page and back; what people named stays text; a page follows its study."""

import shutil
from collections.abc import Iterator
from datetime import UTC, datetime
from pathlib import Path

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from cluster.summary import query
from cluster.summary.store import Summary
from tests.integration.test_serve import served
from tests.page.conftest import Opened

RELOADED_MS = 60_000


@pytest.fixture
def shown(browser: Browser, summary: Summary, tmp_path: Path) -> Iterator[tuple[Page, Summary]]:
    """The list of the five studies in the browser, and a summary of the test's own that it is of; faults fail it."""
    own = Summary(str(shutil.copytree(summary.uri, tmp_path / "summary")))
    with served(own) as (_, url):
        context = browser.new_context(viewport={"width": 1280, "height": 900})
        one = Opened(context.new_page())
        one.page.on("console", lambda message: one.faults.append(f"console: {message.text}"))
        one.page.on("pageerror", lambda error: one.faults.append(f"error: {error}"))
        one.page.on("dialog", lambda dialog: (one.faults.append(f"dialog: {dialog.message}"), dialog.dismiss()))
        one.page.on("request", lambda asked: asked.url.startswith(url) or one.faults.append(f"asked for {asked.url}"))
        one.page.goto(url)
        yield one.page, own
        context.close()
        assert one.faults == []


def test_from_the_list_to_each_page_and_back(shown: tuple[Page, Summary]) -> None:
    page, _ = shown
    names = page.locator("tbody th").all_inner_texts()
    assert names == ["grid", "hostile", "language", "running", "whole"]
    serious = [one for one in Axe().run(page).response["violations"] if one["impact"] in ("serious", "critical")]
    assert serious == []
    for name in names:
        page.get_by_role("link", name=name, exact=True).click()
        expect(page.locator("h1")).to_have_text(name)
        expect(page.locator("label.follow")).to_have_count(int(name == "running"))
        page.get_by_role("link", name="All studies").click()
        expect(page.locator("h1")).to_have_text("Studies")


def test_a_page_follows_its_study_without_being_touched(shown: tuple[Page, Summary]) -> None:
    page, summary = shown
    page.get_by_role("link", name="running", exact=True).click()
    line = page.locator(".progress-line")
    expect(line).to_contain_text("34 of 90 trials ended")
    row = query.trials(summary, "running").slice(0, 1).to_pylist()[0]
    new = {**row, "trial_id": "ffff", "seed": 99, "ended_at": datetime.now(UTC)}
    summary.write_trial(new)
    expect(line).to_contain_text("35 of 90 trials ended", timeout=RELOADED_MS)
