"""The page in a browser: quiet, legible, accessible, and nothing that people named becomes markup."""

import pytest
from axe_playwright_python.sync_playwright import Axe

from tests.page.conftest import ALERT, Open

STUDIES = ("whole", "hostile", "grid", "running", "language")
# Texts of a drawing that lie on one another, or outside of it.
CLASHES = """() => {
  const found = [];
  for (const svg of document.querySelectorAll("svg")) {
    const frame = svg.getBoundingClientRect();
    const texts = [...svg.querySelectorAll("text")].filter((text) => text.getClientRects().length);
    const boxes = texts.map((text) => [text.textContent, text.getBoundingClientRect()]);
    boxes.forEach(([one, a], number) => {
      if (a.left < frame.left - 1 || a.right > frame.right + 1 || a.bottom > frame.bottom + 1) found.push([one]);
      for (const [other, b] of boxes.slice(number + 1)) {
        // Boxes have room for accents and descenders that digits do not use.
        const apart = a.left >= b.right || b.left >= a.right || a.top >= b.bottom - 3 || b.top >= a.bottom - 3;
        if (!apart) found.push([svg.getAttribute("aria-label").slice(0, 40), one, other]);
      }
    });
  }
  return found;
}"""


@pytest.mark.parametrize(
    ("study", "width"),
    [*((study, width) for study in STUDIES for width in (390, 1280)), ("whole", 768), ("whole", 1920)],
)
def test_no_text_lies_on_another_on_any_clock(open_page: Open, study: str, width: int) -> None:
    page = open_page(study, width=width).page
    assert page.evaluate("document.documentElement.scrollWidth") == width
    assert page.evaluate("document.querySelectorAll('svg').length") >= 10
    for clock in ("updates", "examples", "epochs", "seconds"):
        page.locator(f"input[value={clock}]").first.check()
        assert page.evaluate(CLASHES) == [], clock


def test_the_check_for_overlaps_sees_one(open_page: Open) -> None:
    page = open_page("grid").page
    page.evaluate("""() => { const text = document.querySelector("svg text"); text.after(text.cloneNode(true)); }""")
    assert len(page.evaluate(CLASHES)) == 1


@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_axe_finds_nothing_serious(open_page: Open, scheme: str) -> None:
    page = open_page("running", color_scheme=scheme).page
    # Folded parts are seen too; rows after the second are as the second is, and axe is slow.
    page.evaluate("""() => {
      document.querySelectorAll("tbody tr:nth-child(n+3)").forEach((row) => row.remove());
      document.querySelectorAll("details").forEach((one) => { one.open = true; });
    }""")
    found = Axe().run(page).response["violations"]
    assert [(one["id"], one["nodes"][0]["html"]) for one in found if one["impact"] in ("serious", "critical")] == []


def test_what_people_named_stays_text(open_page: Open) -> None:
    page = open_page("hostile").page
    assert page.locator("script").count() == 1
    assert page.locator("img").count() == 0
    for told in ("dd", "pre", "td"):
        assert ALERT.splitlines()[0] in " ".join(page.locator(told).all_text_contents()), told


def test_the_policy_lets_nothing_else_run(open_page: Open) -> None:
    opened = open_page("grid")
    policy = opened.page.locator("meta[http-equiv=Content-Security-Policy]").get_attribute("content") or ""
    assert policy.startswith("default-src 'none'; style-src 'sha256-")
    assert "unsafe" not in policy
    opened.page.evaluate("""() => {
      const script = document.createElement("script");
      script.textContent = "document.title = 'run'";
      document.body.append(script);
    }""")
    assert opened.page.title() == "grid - batchscope"
    assert any("Content Security Policy" in fault for fault in opened.faults)
    opened.faults.clear()


def test_everything_but_values_under_the_pointer_works_without_script(open_page: Open) -> None:
    page = open_page("whole", java_script_enabled=False).page
    shown = page.locator(".over-time.wide svg:visible")
    assert "by updates" in (shown.get_attribute("aria-label") or "")
    page.locator("input[value=seconds]").check()
    assert "by seconds" in (shown.get_attribute("aria-label") or "")
    page.locator("input[type=checkbox][value='16']").uncheck()
    assert page.locator(".over-time.wide svg:visible path.line:visible").count() == 5
    assert page.locator("#results table").first.is_visible()


def test_print_leaves_out_what_only_a_screen_can_use(open_page: Open) -> None:
    page = open_page("whole", color_scheme="dark").page
    assert page.locator(".evidence li").first.is_hidden()
    page.evaluate("dispatchEvent(new Event('beforeprint'))")
    page.emulate_media(media="print", color_scheme="dark")
    assert page.locator(".evidence li").first.is_visible()
    assert page.locator(".controls").is_hidden()
    assert page.locator(".over-time svg:visible").count() == 1
    assert page.evaluate("getComputedStyle(document.body.parentElement).backgroundColor") == "rgb(255, 255, 255)"
