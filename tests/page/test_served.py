"""`serve` in a browser: from the list to a page and back; what people named stays text; a page follows its study."""

import shutil
import time
from collections.abc import Iterator
from datetime import UTC, datetime

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Browser, Page, expect

from cluster.summary import query
from cluster.summary.store import Summary
from tests.integration.test_serve import served
from tests.page.conftest import NAMES, Opened
from tests.page.test_looks import OVERLAPS

# On a busy machine a page is kept for a minute before it is made anew, and is reloaded some seconds later.
RELOADED_MS = 90_000


@pytest.fixture(scope="module")
def server(summary: Summary, tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, Summary]]:
    """The address of one server for all these tests, and the summary of their own that it serves."""
    own = Summary(str(shutil.copytree(summary.uri, tmp_path_factory.mktemp("served") / "summary")))
    with served(own) as (_, url):
        yield url, own


@pytest.fixture
def shown(browser: Browser, server: tuple[str, Summary]) -> Iterator[tuple[Page, Summary]]:
    """The list of the studies in the browser, and the summary that it is of; faults fail the test."""
    url, own = server
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
    assert names == sorted(NAMES)
    serious = [one for one in Axe().run(page).response["violations"] if one["impact"] in ("serious", "critical")]
    assert serious == []
    for name in names:
        page.get_by_role("link", name=name, exact=True).click()
        expect(page.locator("h1")).to_have_text(name)
        expect(page.locator("label.follow")).to_have_count(int(name in ("running", "screening")))
        page.get_by_role("link", name="All studies").click()
        expect(page.locator("h1")).to_have_text("Studies")


# The clock of a page's reloads is wound when the test says so.
WOUND = """const wait = setInterval; window.setInterval = (call) => { window.wind = () => wait(call, 20); };"""


def test_a_reader_who_has_followed_a_link_is_not_called_back(shown: tuple[Page, Summary]) -> None:
    page, _ = shown
    page.add_init_script(WOUND)
    page.reload()
    # An answer that takes many times as long as the page waits between its reloads.
    page.route("**/studies/grid", lambda route: (time.sleep(1), route.continue_()))
    link = page.get_by_role("link", name="grid", exact=True)
    link.evaluate("link => setTimeout(() => { link.click(); wind(); })")
    expect(page.locator("h1")).to_have_text("grid")


def serious(page: Page) -> list[str]:
    return [one["id"] for one in Axe().run(page).response["violations"] if one["impact"] in ("serious", "critical")]


def test_the_list_has_the_answers_and_is_sorted_and_filtered_by_its_address(shown: tuple[Page, Summary]) -> None:
    page, _ = shown
    answer = page.locator("tr", has=page.get_by_role("link", name="whole", exact=True)).locator(".answer")
    expect(answer).to_contain_text("Use B = ", timeout=RELOADED_MS)
    page.get_by_role("searchbox").fill("language")
    expect(page.locator("tbody tr:visible")).to_have_count(1)
    page.get_by_role("searchbox").fill("")
    page.get_by_role("button", name="study").click()
    page.get_by_role("button", name="study").click()
    assert page.locator("tbody th").all_inner_texts() == sorted(NAMES, reverse=True)
    page.get_by_role("searchbox").fill("re")
    page.reload()
    assert page.get_by_role("searchbox").input_value() == "re"
    assert page.locator("th[aria-sort=descending]").count() == 1
    for width in (390, 768, 1280):
        page.set_viewport_size({"width": width, "height": 900})
        assert page.evaluate(OVERLAPS) == []


def test_a_trial_has_a_page_of_its_own(shown: tuple[Page, Summary]) -> None:
    page, summary = shown
    page.get_by_role("link", name="whole", exact=True).click()
    page.locator("#results summary").first.click()
    row = query.trials(summary, "whole").to_pylist()[0]
    page.get_by_role("link", name=row["trial_id"]).click()
    expect(page.locator("h1")).to_have_text(f"Trial {row['trial_id']}")
    assert f"--trial {row['trial_id']}" in (page.locator("pre").last.text_content() or "")
    expect(page.locator(".over-time.wide svg:visible path.line")).to_have_count(1)
    assert page.evaluate(OVERLAPS) == []
    assert serious(page) == []
    page.get_by_role("link", name="Compare with other batch sizes").click()
    expect(page.locator("h1")).to_have_text("Compared")
    expect(page.locator(".over-time.wide svg:visible path.line")).to_have_count(4)


def test_studies_are_compared_by_their_curves_and_what_was_asked(shown: tuple[Page, Summary]) -> None:
    page, _ = shown
    for name in ("whole", "regression", "grid"):
        page.get_by_label(f"compare {name}").check()
    page.get_by_role("link", name="Compare").click()
    expect(page.locator("h1")).to_have_text("Compared")
    expect(page.locator(".over-time.wide svg:visible path.line")).to_have_count(3)
    differs = page.locator("table", has_text="What differs").locator("tbody th").all_inner_texts()
    assert "task" in differs
    page.locator("input[name=scale][value=log]").check()
    expect(page.locator(".redrawn svg:visible path.line")).to_have_count(3)
    for width in (390, 768, 1280):
        page.set_viewport_size({"width": width, "height": 900})
        assert page.evaluate(OVERLAPS) == []
    assert serious(page) == []


def test_the_error_of_a_hostile_trial_stays_text(shown: tuple[Page, Summary]) -> None:
    page, summary = shown
    row = query.trials(summary, "hostile").to_pylist()[0]
    page.goto(f"{page.url.partition('#')[0]}studies/hostile/trials/{row['trial_id']}")
    expect(page.locator("pre.error")).to_have_text(row["error"])
    assert page.locator("script").count() == 1
    assert page.locator("img").count() == 0


# Last, when the page was drawn long ago: one that took long to draw is not looked at again for up to a minute.
def test_a_page_follows_its_study_without_being_touched(shown: tuple[Page, Summary]) -> None:
    page, summary = shown
    page.get_by_role("link", name="screening", exact=True).click()
    line = page.locator(".progress-line")
    expect(line).to_contain_text("6 of 90 trials ended")
    row = query.trials(summary, "screening").slice(0, 1).to_pylist()[0]
    new = {**row, "trial_id": "ffff", "seed": 99, "ended_at": datetime.now(UTC)}
    summary.write_trial(new)
    expect(line).to_contain_text("7 of 90 trials ended", timeout=RELOADED_MS)
