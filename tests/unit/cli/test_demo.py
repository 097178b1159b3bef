"""What `batchscope demo` writes beside its study: the page that its last lines name."""

from pathlib import Path

from cluster.cli import demo
from tests.support.simulated import World, spec_of, study
from tests.support.stored import store


def test_its_page_is_where_it_says(tmp_path: Path) -> None:
    summary = store(tmp_path / "summary", study(spec_of(), World()))
    address = demo._page(summary, "simulated", tmp_path)
    file = tmp_path / "simulated.html"
    assert address == f"file://{file}"
    assert "At a glance" in file.read_text()
