"""The page in use: the clock, the batch sizes, values under the pointer and the keys, sorting, saving, reloading."""

import math
import re
from pathlib import Path

import pyarrow.compute as pc
from playwright.sync_api import Page

from cluster.analysis.verdict import judge
from cluster.summary import query
from cluster.summary.store import Summary
from cluster.text.formats import to_csv
from tests.page.conftest import Open


def ranked(page: Page) -> list[int]:
    texts = page.locator(".panel:visible svg:visible[aria-label^='Ranked'] text.strong").all_text_contents()
    return [int(text.removeprefix("B = ")) for text in texts]


def saved(page: Page, link: str) -> str:
    with page.expect_download() as download:
        page.locator("a", has_text=link).first.click()
    return Path(download.value.path()).read_text(encoding="utf-8")


def test_another_clock_shows_other_curves_and_another_ranking(open_page: Open, summary: Summary) -> None:
    tables = [read(summary, "whole") for read in (query.studies, query.trials, query.evaluations)]
    [group] = judge(*tables).groups
    arms = {arm.clock: sorted(arm.losses, key=lambda batch: arm.losses[batch]) for arm in group.arms}
    page = open_page("whole").page
    orders = {}
    for clock in ("updates", "examples", "epochs", "seconds"):
        page.locator(f"input[value={clock}]").check()
        assert page.locator(".panel:visible").count() == 1
        label = page.locator(".over-time.wide svg:visible").get_attribute("aria-label") or ""
        assert label.startswith(f"Validation loss while training, by {clock}")
        orders[clock] = ranked(page)
    assert orders == arms | {"epochs": arms["examples"]}
    assert orders["updates"] != orders["examples"]


def test_a_batch_size_not_chosen_leaves_the_curves(open_page: Open) -> None:
    page = open_page("whole").page
    lines = page.locator(".over-time.wide svg:visible path.line:visible")
    assert lines.count() == 6
    page.locator("input[type=checkbox][value='64']").uncheck()
    assert [line.get_attribute("data-batch") for line in lines.all()] == ["16", "32", "128", "256", "512"]
    page.get_by_role("button", name="none").click()
    assert lines.count() == 0
    page.locator("input[type=checkbox][value='64']").check()
    assert lines.count() == 1
    page.get_by_role("button", name="all").click()
    assert lines.count() == 6


def test_a_value_under_the_pointer_and_by_the_keys(open_page: Open, summary: Summary) -> None:
    page = open_page("whole").page
    [mean] = [
        row["best_validation_loss_mean"]
        for row in query.points(query.trials(summary, "whole"), where="phase = 'confirm'").to_pylist()
        if row["global_batch"] == 128
    ]
    dot = page.locator("#loss .mark[data-batch='128'] circle[r='5']")
    dot.scroll_into_view_if_needed()
    dot.hover()
    tip = page.locator("#loss [role=status]")
    assert tip.is_visible()
    assert tip.text_content().startswith(f"B = 128: {mean:.4g}, mean of 5 runs, 95 % CI ")
    page.mouse.move(0, 0)
    assert tip.is_hidden()

    page.locator(".over-time.wide:visible").focus()
    page.keyboard.press("ArrowRight")
    tip = page.locator(".over-time.wide:visible [role=status]")
    first = tip.text_content() or ""
    assert re.fullmatch(r"B = 16, [\d,]+ updates: loss [\d.]+, mean of 5 runs", first)
    page.keyboard.press("ArrowRight")
    assert tip.text_content() != first
    page.keyboard.press("ArrowDown")
    assert (tip.text_content() or "").startswith("B = 32, ")
    page.keyboard.press("Escape")
    assert tip.is_hidden()


def test_a_language_model_tells_its_perplexity(open_page: Open) -> None:
    page = open_page("language").page
    page.locator(".over-time.wide:visible").first.focus()
    page.keyboard.press("ArrowRight")
    told = page.locator(".over-time.wide:visible [role=status]").first.text_content() or ""
    [loss, perplexity] = re.findall(r"loss ([\d.]+) \(perplexity ([\d.]+)\)", told)[0]
    assert math.isclose(math.exp(float(loss)), float(perplexity), rel_tol=1e-3)
    assert "perplexity" in page.locator("#results th").all_text_contents()


def test_a_table_is_sorted_by_whole_values_and_what_has_none_comes_last(open_page: Open) -> None:
    page = open_page("whole").page

    def column(number: int) -> list[str]:
        return page.locator(f"#results table >> nth=0 >> tbody td:nth-child({number})").all_text_contents()

    head = page.locator("#results table >> nth=0 >> th")
    heads = head.all_text_contents()
    number = heads.index("difference of loss")
    head.nth(number).get_by_role("button").click()
    assert head.nth(number).get_attribute("aria-sort") == "ascending"
    values = column(number + 1)
    assert values[-1] == "-"
    assert [float(value) for value in values[:-1]] == sorted(float(value) for value in values[:-1])
    head.nth(number).get_by_role("button").click()
    assert [*reversed(column(number + 1)[:-1]), "-"] == values
    head.nth(0).get_by_role("button").click()
    assert column(1) == ["16", "32", "64", "128", "256", "512"]


def test_every_number_is_in_a_file(open_page: Open, summary: Summary) -> None:
    page = open_page("whole").page
    trials, evaluations = query.trials(summary, "whole"), query.evaluations(summary, "whole")
    assert saved(page, "all attempts (CSV)") == to_csv(trials)
    assert saved(page, "all evaluations (CSV)") == to_csv(evaluations)
    assert saved(page, "points of the axes (CSV)") == to_csv(query.points(trials))
    page.locator("#loss summary").click()
    chosen = query.finished(trials.filter(pc.equal(trials["phase"], "confirm"))).sort_by(
        [("global_batch", "ascending"), ("seed", "ascending")]
    )
    assert saved(page, "Best validation loss as CSV") == to_csv(
        chosen.select(["global_batch", "seed", "best_validation_loss"])
    )


def test_a_run_that_missed_the_target_is_an_arrow(open_page: Open, summary: Summary) -> None:
    tables = [read(summary, "whole") for read in (query.studies, query.trials, query.evaluations)]
    [group] = judge(*tables).groups
    missed = sum(not run.reached for cell in group.cells if cell.reach for run in cell.reach.runs)
    page = open_page("whole").page
    assert missed > 2
    assert page.locator("#updates-to-target path.arrow").count() == missed
    page.locator("#updates-to-target .mark", has=page.locator("path.arrow")).first.hover()
    assert "not reached within" in (page.locator("#updates-to-target [role=status]").text_content() or "")


def test_another_metric_is_drawn_from_the_numbers_in_the_page(open_page: Open, summary: Summary) -> None:
    page = open_page("whole").page
    still = page.locator(".over-time.wide svg:visible")
    first = still.inner_html()
    page.locator("input[name=metric][value=training]").check()
    assert page.locator(".panel:visible h3").first.text_content() == "Training loss while training, by updates"
    line = page.locator(".redrawn path.line[data-batch='16']")
    ends = [float(value) for value in (line.get_attribute("data-y") or "").split()]
    trials = query.trials(summary, "whole")
    counted = trials.filter(pc.and_(pc.equal(trials["phase"], "confirm"), pc.equal(trials["global_batch"], 16)))
    rows = query.evaluations(summary, "whole").to_pylist()
    last = [
        max((row for row in rows if row["trial_id"] == trial), key=lambda row: row["update"])["training_loss"]
        for trial in counted["trial_id"].to_pylist()
    ]
    assert math.isclose(ends[-1], sum(last) / len(last), rel_tol=1e-4)
    page.locator("input[name=scale][value=log]").check()
    assert "(log)" in (page.locator(".redrawn svg text").first.text_content() or "")
    page.locator("input[name=metric][value=accuracy]").check()
    assert page.locator("input[name=scale][value=log]").is_disabled()
    page.locator("input[name=metric][value=validation]").check()
    page.locator("input[name=scale][value=linear]").check()
    assert page.locator(".redrawn").count() == 0
    assert still.inner_html() == first


def test_the_rates_tried_and_running_trials_are_drawn(open_page: Open) -> None:
    page = open_page("screening").page
    shown = page.locator(".over-time.wide svg:visible")
    assert shown.locator("path.running").count() == 1
    assert shown.locator("path.run").count() >= 1
    assert "none counts yet" in (page.locator(".panel:visible figcaption p").first.text_content() or "")
    whole = open_page("whole").page
    assert whole.locator("input[name=also][value=tried]").is_checked() is False
    whole.locator("input[name=also][value=tried]").check()
    assert whole.locator(".redrawn path.tried-run").count() > 20


def test_a_link_shows_what_its_sender_saw(open_page: Open) -> None:
    page = open_page("whole").page
    page.locator("input[value=seconds]").check()
    page.locator("input[name=metric][value=training]").check()
    page.locator("input[type=checkbox][value='32']").uncheck()
    page.locator(".evidence summary").click()
    page.locator("#results table >> nth=0 >> th").nth(0).get_by_role("button").click()
    page.locator("#results table >> nth=0 >> th").nth(0).get_by_role("button").click()
    page.wait_for_function("location.hash.includes('open=')")
    address = page.url
    assert page.evaluate("location.hash").count("=") == 5
    again = open_page("whole").page
    again.goto("about:blank")
    again.goto(address)
    assert again.locator("input[value=seconds]").is_checked()
    assert again.locator(".redrawn svg:visible").count() == 1
    assert not again.locator("input[type=checkbox][value='32']").is_checked()
    assert again.locator(".evidence li").first.is_visible()
    assert again.locator("#results table >> nth=0 >> th").nth(0).get_attribute("aria-sort") == "descending"
    again.goto("about:blank")
    again.goto(f"{address.partition('#')[0]}#clock=<b>&nothing=1&sort=x:y&open=zz&sort=results:99")
    assert again.locator("input[value=updates]").is_checked()


def test_the_answer_is_taken_along_as_markdown_and_as_a_picture(open_page: Open) -> None:
    page = open_page("whole", permissions=["clipboard-read", "clipboard-write"]).page
    page.get_by_role("button", name="Copy as Markdown").click()
    page.get_by_role("button", name="copied").wait_for()
    text = page.evaluate("navigator.clipboard.readText()")
    assert text.startswith("### batchscope: whole\n\n**")
    assert "| 512 |" in text
    with page.expect_download() as download:
        page.get_by_role("link", name="Save as a picture (PNG)").click()
    assert download.value.suggested_filename == "whole-card.png"
    head = Path(download.value.path()).read_bytes()[:24]
    assert head[:8] == b"\x89PNG\r\n\x1a\n"
    assert (int.from_bytes(head[16:20], "big"), int.from_bytes(head[20:24], "big")) == (1200, 630)


def test_the_classic_picture_has_a_curve_for_each_batch_size(open_page: Open) -> None:
    page = open_page("whole").page
    lines = page.locator("#loss-by-rate path.line")
    assert [line.get_attribute("data-batch") for line in lines.all()] == ["16", "32", "64", "128", "256", "512"]


def test_results_by_class_are_those_of_the_runs_together(open_page: Open) -> None:
    page = open_page("whole").page
    heads = page.locator("#classes table >> nth=0 >> th").all_text_contents()
    assert [head.strip() for head in heads][:3] == ["class", "rows", "B = 16"]
    row = page.locator("#classes table >> nth=0 >> tbody tr").nth(1).locator("td").all_text_contents()
    # 25 of 40 rows of the second class are taken for the third at B = 512.
    assert row[0] == "history of the world until now"
    assert row[-1] == f"{2 * 15 / (40 + 15):.3f}"
    page.locator("#classes details summary").last.click()
    assert page.locator("#classes table.confusion:visible td.number").nth(6).text_content() == f"{25 * 5}"
    assert "Not recorded" in (open_page("grid").page.locator("#classes p").text_content() or "")


def test_a_regression_speaks_of_its_squared_error(open_page: Open) -> None:
    page = open_page("regression").page
    heads = page.locator(".glance thead th").all_text_contents()
    assert heads[1] == "best val. MSE"
    assert "R squared, val." in heads
    last = page.locator(".glance tbody tr").last.locator("th, td").all_text_contents()
    assert last[:3] == ["predicting the mean", "2.1", "baseline"]
    assert page.locator("#classes").count() == 0


def test_cautions_come_by_what_they_bear_on(open_page: Open) -> None:
    page = open_page("whole").page
    heads = page.locator("#warnings h3").all_text_contents()
    order = ["Cautions on which batch size is better", "Cautions on times and on what is soonest"]
    assert [head for head in heads if head in order] == [head for head in order if head in heads]


def test_a_page_that_reloads_stays_where_its_reader_left_it(open_page: Open) -> None:
    page = open_page("running").page
    assert page.locator("progress").get_attribute("value") == "34"
    assert page.locator("noscript").count() == 1
    page.locator("input[value=seconds]").check()
    page.locator("input[type=checkbox][value='32']").uncheck()
    page.locator("#results summary").first.click()
    page.locator(".follow input").uncheck()
    page.reload()
    assert page.locator("input[value=seconds]").is_checked()
    assert not page.locator("input[type=checkbox][value='32']").is_checked()
    assert page.locator("#results details").first.evaluate("one => one.open")
    assert not page.locator(".follow input").is_checked()


def test_a_plain_grid_says_what_it_cannot(open_page: Open) -> None:
    page = open_page("grid").page
    lead = "A first look: no batch size is shown to be better, worse or equivalent."
    assert page.locator(".lead").text_content() == lead
    assert "whether any batch size is better or equivalent" in (page.locator("#verdict .cannot").text_content() or "")
    assert "no target was declared" in (page.locator("section > .cannot").text_content() or "")


def test_the_answer_comes_first_then_every_batch_size_at_a_glance_then_how_sure_it_is(
    open_page: Open, summary: Summary
) -> None:
    [group] = judge(*[read(summary, "whole") for read in (query.studies, query.trials, query.evaluations)]).groups
    page = open_page("whole").page
    lead, glance, evidence = (page.locator(f"#verdict {one}").first for one in (".lead", ".glance", ".evidence"))
    places = [one.bounding_box() for one in (lead, glance, evidence)]
    assert all(places)
    assert [place["y"] for place in places if place] == sorted(place["y"] for place in places if place)
    heads = glance.locator("thead th").all_text_contents()
    assert heads[:3] == ["B", "best val. loss", "against reference"]
    assert {"test accuracy", "a run takes", "rows/s", "memory, at most", "reached target"} <= set(heads)
    for number, cell in enumerate(group.cells):
        texts = glance.locator("tbody tr").nth(number).locator("th, td").all_text_contents()
        assert texts[0] == str(cell.global_batch)
        assert cell.test_accuracy
        assert texts[heads.index("test accuracy")] == f"{cell.test_accuracy.mean:.1%}"
    assert evidence.locator("li").first.is_hidden()
    evidence.locator("summary").click()
    assert evidence.locator("li").first.is_visible()
