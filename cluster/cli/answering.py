"""`--format`: what a command prints, as text for a person, or as one JSON document with `schema_version`."""

from collections.abc import Iterable
from typing import Any

import click

TEXT, JSON = "text", "json"
text_or_json = click.option("--format", "form", type=click.Choice([TEXT, JSON]), default=TEXT, show_default=True)


def put(form: str, lines: Iterable[str], /, **fields: Any) -> None:
    """Print the lines or, as JSON, the fields."""
    if form == JSON:
        from cluster.text.formats import document

        click.echo(document(**fields), nl=False)
        return
    for line in lines:
        click.echo(line)
