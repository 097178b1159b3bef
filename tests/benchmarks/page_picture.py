"""README's picture: the top of a study's page as Chromium draws it.

`python -m tests.benchmarks.page_picture SUMMARY STUDY -o cluster/report/page/picture.png`
"""

import argparse
import tempfile
from pathlib import Path

from playwright.sync_api import sync_playwright

from cluster.report.page.page import page
from cluster.summary.store import Summary

WIDTH = 1280


def main() -> None:
    """Write the picture: from the page's head to the end of its curves."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("summary")
    parser.add_argument("study")
    parser.add_argument("-o", "--output", required=True)
    given = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder, sync_playwright() as playwright:
        file = Path(folder) / "page.html"
        file.write_text(page(Summary(given.summary), given.study), encoding="utf-8")
        browser = playwright.chromium.launch(
            executable_path="/usr/bin/chromium", args=["--no-sandbox", "--disable-gpu"]
        )
        tab = browser.new_page(viewport={"width": WIDTH, "height": 900})
        tab.goto(file.as_uri())
        end = tab.locator(".curves").first.bounding_box()
        assert end is not None
        clip = {"x": 0, "y": 0, "width": WIDTH, "height": end["y"] + end["height"] + 16}
        tab.screenshot(path=given.output, full_page=True, clip=clip)
        browser.close()


if __name__ == "__main__":
    main()
