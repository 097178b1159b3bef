"""The HTML of `serve`: the list of studies, and the line above a study's page about what is running."""

import base64
import hashlib
import html
import re
from collections.abc import Iterable
from typing import Any

from cluster.report.failed import sentence
from cluster.report.page import palette
from cluster.report.serve.progress import LEFT, Running, TrialCounts
from cluster.report.serve.reading import Listing
from cluster.report.studies import about
from cluster.summary.tables import COMPLETED, STATES

LIST_REFRESH_SECONDS = 10
# With many lanes, this many running trials are named.
RUNNING_SHOWN = 4
STYLE = """
*{box-sizing:border-box}
html{background:var(--ground);color:var(--ink);font:16px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,sans-serif}
body{margin:0 auto;max-width:1248px;padding:0 24px 48px}
h1{font-size:30px;line-height:1.2;margin:24px 0 16px}
h2{font-size:18px;margin:24px 0 8px}
li{font-size:14px;overflow-wrap:anywhere}
a{color:var(--accent)}
.wide{overflow-x:auto;background:var(--paper);border:1px solid var(--grid);border-radius:8px}
table{border-collapse:collapse;font-size:14px;font-variant-numeric:tabular-nums;width:100%}
th,td{border-top:1px solid var(--grid);padding:8px 12px;text-align:left;vertical-align:top}
thead th{border-top:0;color:var(--soft);font-weight:400}
td:nth-child(2),td:nth-child(5){min-width:11em}
td:last-child{white-space:nowrap}
.number{text-align:right}
progress{accent-color:var(--accent);display:block;width:100%}
p{color:var(--soft);font-size:14px}
.failed{color:var(--ink);margin:4px 0 0;max-width:40ch;overflow-wrap:anywhere}
:focus-visible{outline:3px solid var(--accent);outline-offset:2px}
"""
# Like a study's page, it reloads while it is visible, and only as long as its reader wants.
SCRIPT = f"""
const box = document.querySelector("input");
box.checked = sessionStorage.getItem("batchscope list") !== "still";
box.addEventListener("change", () => sessionStorage.setItem("batchscope list", box.checked ? "" : "still"));
box.closest("label").hidden = false;
setInterval(() => {{ if (box.checked && !document.hidden) location.reload(); }}, {LIST_REFRESH_SECONDS * 1000});
"""
_BODY = re.compile(r"<body[^>]*>", re.IGNORECASE)


def with_progress(page: str, progress: TrialCounts) -> str:
    """A study's page with a link back to the list at the top, and what is running now."""
    lines = "".join(f'<p class="aside-note">{html.escape(line)}</p>' for line in under_way(progress))
    body = _BODY.search(page)
    assert body, "a page has a body"
    # These are classes of the page, because its policy allows no other style.
    top = f'<nav aria-label="batchscope"><p class="brand"><a href="/">All studies</a></p>{lines}</nav>'
    return page[: body.end()] + top + page[body.end() :]


def under_way(progress: TrialCounts) -> list[str]:
    """The trials running now, how far each has come, and what they have cost."""
    if not progress.running:
        return []
    shown = [_running(one) for one in progress.running[:RUNNING_SHOWN]]
    others = len(progress.running) - len(shown)
    parts = [f"under way: {'; '.join(shown)}{f'; and {others} more' if others else ''}"]
    if progress.running_usd is not None:
        parts.append(f"about {progress.running_usd:.2f} usd so far for trials under way")
    return parts


def _running(one: Running) -> str:
    point = f"global batch {one.global_batch}, rate {one.learning_rate:g}, seed {one.seed}"
    if not one.updates:
        return f"{point}, not evaluated yet"
    of = f" of {one.planned_updates:,}" if one.planned_updates else ""
    loss = "" if one.validation_loss is None else f", validation loss {one.validation_loss:.4f}"
    return f"{point}, {one.updates:,}{of} updates{loss}"


def counted(progress: TrialCounts) -> list[str]:
    """The trials of a study, by how they ended."""
    of = f" of {progress.asked}" if progress.asked is not None else ""
    parts = [f"{progress.done - progress.failures.failed}{of} trials done"]
    if progress.running:
        parts.append(f"{len(progress.running)} under way")
    if progress.waiting:
        parts.append(f"{progress.waiting} waiting")
    unusual = [state for state in STATES if progress.states[state] and state != COMPLETED]
    parts += [
        f"{progress.states[state]} {state.lower().replace('_', ' ')}{', to be resumed' if state in LEFT else ''}"
        for state in unusual
    ]
    return parts


def money(progress: TrialCounts) -> list[str]:
    """What the machines have cost so far, as far as it is known."""
    if progress.cost_usd is None:
        return ["cost not known: the machine has no price"] if progress.unpriced else []
    parts = [f"{progress.cost_usd:.2f} usd so far"]
    if progress.running_usd:
        parts.append(f"about {progress.running_usd:.2f} usd more for trials under way")
    if progress.unpriced:
        parts.append(f"{progress.unpriced} attempts without a known price")
    return parts


def list_page(listing: Listing) -> str:
    """All studies on one page that updates itself."""
    rows = listing.overview.to_pylist()
    body = _table(_row(row, listing.progress[row["study"]]) for row in rows) if rows else _NOTHING
    if listing.problems:
        lines = "".join(f"<li>{html.escape(one.line)}</li>" for one in listing.problems)
        body += f"<h2>Files that are left out, or in doubt</h2>\n<ul>{lines}</ul>"
    style = palette.page_style(0) + STYLE
    policy = f"default-src 'none'; style-src '{_hashed(style)}'; script-src '{_hashed(SCRIPT)}'"
    return f"""<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta http-equiv="Content-Security-Policy" content="{policy}">
<noscript><meta http-equiv="refresh" content="{LIST_REFRESH_SECONDS}"></noscript>
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>batchscope: studies</title>
<style>{style}</style>
</head>
<body>
<main>
<h1>Studies</h1>
{body}
<p><a href="/api/openapi.json">The same as JSON: how to query it</a>
<label hidden>&middot; <input type="checkbox"> reload every {LIST_REFRESH_SECONDS} s</label></p>
</main>
<script>{SCRIPT}</script>
</body>
</html>
"""


_NOTHING = "<p>No studies yet: <code>batchscope run STUDY.yaml</code> writes here.</p>"
_HEAD = (
    ("study", ""),
    ("trials", ""),
    ("lowest mean validation loss", ' class="number"'),
    ("at global batch", ' class="number"'),
    ("cost so far", ""),
    ("task", ""),
    ("started, UTC", ""),
)


def _table(rows: Iterable[str]) -> str:
    head = "".join(f'<th scope="col"{kind}>{text}</th>' for text, kind in _HEAD)
    # Focusable, so that it can be scrolled from the keyboard too.
    return (
        f'<div class="wide" tabindex="0" role="region" aria-label="Studies"><table><thead><tr>{head}</tr></thead>\n'
        f"<tbody>\n{''.join(rows)}</tbody></table></div>"
    )


def _row(row: dict[str, Any], progress: TrialCounts) -> str:
    name = html.escape(row["study"])
    bar = ""
    if progress.asked:
        answered = progress.done - progress.failures.failed
        bar = f'<progress max="{progress.asked}" value="{answered}" aria-label="{name}"></progress>'
    if failed := sentence(progress.failures):
        bar += f'<p class="failed">{html.escape(failed)}</p>'
    loss = row["lowest_validation_loss_mean"]
    started = row["started_at"]
    cells = [
        "; ".join(counted(progress)),
        "" if loss is None else f"{loss:.4f}",
        row["lowest_global_batch"],
        "; ".join(money(progress)),
        row["task"],
        "" if started is None else f"{started:%Y-%m-%d %H:%M}",
    ]
    counts, *others = ("" if cell is None else html.escape(str(cell)) for cell in cells)
    kinds = [kind for _, kind in _HEAD[2:]]
    rest = "".join(f"<td{kind}>{cell}</td>" for cell, kind in zip(others, kinds, strict=True))
    words = html.escape(about(row))
    link = f'<th scope="row"><a href="/studies/{name}">{name}</a>{words and f"<p>{words}</p>"}</th>'
    return f"<tr>{link}<td>{counts}{bar}</td>{rest}</tr>\n"


def _hashed(text: str) -> str:
    return f"sha256-{base64.b64encode(hashlib.sha256(text.encode()).digest()).decode()}"
