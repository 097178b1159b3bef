"""The page in a browser: quiet, legible, accessible, and nothing that people named becomes markup."""

import pytest
from axe_playwright_python.sync_playwright import Axe

from tests.page.conftest import ALERT, NAMES, Open

# Texts of a drawing that lie on one another, or outside of it.
CLASHES = """() => {
  const found = [];
  for (const svg of document.querySelectorAll("svg.chart")) {
    const frame = svg.getBoundingClientRect();
    const texts = [...svg.querySelectorAll("text")].filter((text) => text.checkVisibility());
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


# Texts of the page, as far as they are seen, that lie on one another, and numbers that do not fit into their place.
OVERLAPS = """() => {
  const found = [];
  const seen = (element) => {
    let box = element.getBoundingClientRect();
    box = { left: box.left, right: box.right, top: box.top, bottom: box.bottom };
    for (let one = element.parentElement; one; one = one.parentElement) {
      if (getComputedStyle(one).overflow === "visible") continue;
      const limit = one.getBoundingClientRect();
      box.left = Math.max(box.left, limit.left); box.right = Math.min(box.right, limit.right);
      box.top = Math.max(box.top, limit.top); box.bottom = Math.min(box.bottom, limit.bottom);
    }
    return box.right - box.left > 1 && box.bottom - box.top > 1 ? box : null;
  };
  const blocks = "h1,h2,h3,p,li,dt,dd,td,th,label,button,summary,caption,pre";
  const leaves = [...document.querySelectorAll(`${blocks},text`)].filter((one) => one.textContent.trim() &&
    one.checkVisibility() && !one.querySelector(blocks) && !one.closest(".follow, .tip"));
  const boxes = leaves.map((one) => [one, seen(one)]).filter(([, box]) => box);
  boxes.sort(([, one], [, other]) => one.top - other.top);
  boxes.forEach(([one, a], number) => {
    for (let next = number + 1; next < boxes.length && boxes[next][1].top < a.bottom - 4; next += 1) {
      const [other, b] = boxes[next];
      if (one.contains(other) || other.contains(one) || (one.closest("svg") && other.closest("svg"))) continue;
      if (a.left < b.right - 2 && b.left < a.right - 2) {
        found.push([one.textContent.slice(0, 30), other.textContent.slice(0, 30)]);
      }
    }
  });
  for (const one of document.querySelectorAll(".number, dd, .glance td, .glance th, .sheet td, .studies td")) {
    if (one.checkVisibility() && one.scrollWidth > one.clientWidth + 1) found.push([`cut: ${one.textContent}`]);
  }
  return found;
}"""
UNFOLD = "document.querySelectorAll('details').forEach((one) => { one.open = true; })"


# The narrowest paper is A4 between the margins of a browser.
@pytest.mark.parametrize(
    ("media", "width"),
    [*(("screen", width) for width in (390, 768, 1280, 1920)), *(("print", width) for width in (718, 768, 1280, 1920))],
)
def test_no_number_is_cut_and_no_text_lies_on_another(open_page: Open, width: int, media: str) -> None:
    page = open_page("whole", width=width).page
    page.emulate_media(media=media)  # type: ignore[arg-type]
    for fold in ("", UNFOLD):
        page.evaluate(fold or "0")
        assert page.evaluate(OVERLAPS) == []
        assert page.evaluate("document.documentElement.scrollWidth") <= width


def test_the_check_for_overlaps_of_the_page_sees_them(open_page: Open) -> None:
    page = open_page("grid").page
    page.evaluate("document.querySelector('.glance tbody tr').style.transform = 'translateY(20px)'")
    assert page.evaluate(OVERLAPS) != []
    page.reload()
    page.evaluate("""() => {
      const cell = document.querySelector(".number");
      Object.assign(cell.style, { display: "block", width: "2px", maxWidth: "2px", overflow: "hidden" });
      cell.closest("details")?.setAttribute("open", "");
    }""")
    assert any(one[0].startswith("cut: ") for one in page.evaluate(OVERLAPS))


@pytest.mark.parametrize("metric", ["training", "gap", "accuracy", "validation"])
def test_the_curves_of_every_metric_and_scale_are_as_legible(open_page: Open, metric: str) -> None:
    page = open_page("whole", width=390 if metric == "gap" else 1280).page
    page.locator("input[name=also][value=tried]").check()
    page.locator(f"input[name=metric][value={metric}]").check()
    for scale in ("linear", "log"):
        choice = page.locator(f"input[name=scale][value={scale}]")
        if choice.is_enabled():
            choice.check()
        assert page.locator(".redrawn svg:visible text").count() > 8
        assert page.evaluate(CLASHES) == []


@pytest.mark.parametrize(
    ("study", "width"),
    [*((study, width) for study in NAMES for width in (390, 1280)), ("whole", 768), ("whole", 1920)],
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


@pytest.mark.parametrize(
    ("study", "scheme", "media"),
    [("running", "light", "screen"), ("whole", "dark", "screen"), ("whole", "light", "print")],
)
def test_axe_finds_nothing_serious(open_page: Open, study: str, scheme: str, media: str) -> None:
    page = open_page(study, color_scheme=scheme).page
    page.emulate_media(media=media, color_scheme=scheme)  # type: ignore[arg-type]
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
