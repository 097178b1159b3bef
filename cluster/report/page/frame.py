"""The frame of every page: one HTML document under a strict content-security policy, with style and script in it."""

import base64
import hashlib
from collections.abc import Sequence
from importlib.resources import files

from cluster.report.page import palette
from cluster.report.page.markup import Attribute, Markup, tag


def framed(
    title: str, *body: str, style: str, script: str, refresh_seconds: int | None = None, **attributes: Attribute
) -> str:
    """The document; `attributes` are those of its body, and a page that is refreshed does so without a script too."""
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=policy(style, script)),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="referrer", content="no-referrer"),
        *([_refresh(refresh_seconds)] if refresh_seconds else []),
        tag("title", title),
        tag("style", Markup(style)),
    )
    whole = tag("body", *body, tag("script", Markup(script)), data_refresh=refresh_seconds, **attributes)
    return f"<!doctype html>\n{tag('html', head, whole, lang='en')}\n"


def style(colours: int, *more: str) -> str:
    """The style of a page on which `colours` batch sizes have a colour, and what it needs besides."""
    return "".join([palette.page_style(colours), palette.chart_style(colours), text_of("page.css"), *more])


def script(parts: Sequence[str]) -> str:
    """A script of some files of this package: a function around them leaves nothing of theirs in the window."""
    whole = "\n".join(map(text_of, parts))
    return f'"use strict";\n(() => {{\n{whole}}})();\n'


def text_of(name: str) -> str:
    """A file of this package."""
    return files("cluster.report.page").joinpath(name).read_text(encoding="utf-8")


def policy(style: str, script: str) -> str:
    """What the browser may do with the page: apply this style, run this script, and nothing else."""
    hashes = (base64.b64encode(hashlib.sha256(text.encode()).digest()).decode() for text in (style, script))
    style_hash, script_hash = hashes
    return (
        f"default-src 'none'; style-src 'sha256-{style_hash}'; script-src 'sha256-{script_hash}'; img-src data:; "
        "base-uri 'none'; form-action 'none'"
    )


def _refresh(seconds: int) -> Markup:
    """The reload for browsers without scripts; with a script the page reloads itself and lets readers stop that."""
    return tag("noscript", tag("meta", http_equiv="refresh", content=f"{seconds}"))
