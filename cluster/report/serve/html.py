"""What `serve` writes above a study's page and beside it in the list: what is running, what ended, what it cost."""

import html
import re

from cluster.report.page.markup import Markup, tag
from cluster.report.serve.progress import LEFT, Running, TrialCounts
from cluster.summary.tables import COMPLETED, STATES

# With many lanes, this many running trials are named.
RUNNING_SHOWN = 4
_BODY = re.compile(r"<body[^>]*>", re.IGNORECASE)


def with_progress(page: str, progress: TrialCounts) -> str:
    """A study's page with a link back to the list at the top, and what is running now."""
    lines = "".join(f'<p class="aside-note">{html.escape(line)}</p>' for line in under_way(progress))
    body = _BODY.search(page)
    assert body, "a page has a body"
    # These are classes of the page, because its policy allows no other style.
    top = f'<nav aria-label="batchscope"><p class="brand"><a href="/">All studies</a></p>{lines}</nav>'
    return page[: body.end()] + top + page[body.end() :]


def navigation(study: str | None = None) -> Markup:
    """The way back from a page of `serve`'s own: to the list, and to the study that it is about."""
    links = [tag("a", "All studies", href="/")]
    if study is not None:
        links += [Markup(" / "), tag("a", study, href=f"/studies/{study}")]
    return tag("nav", tag("p", *links, class_="brand"), aria_label="batchscope")


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
