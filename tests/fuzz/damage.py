"""Damage to bytes, as disks, copies and editors do it; and to a JSON document, as people do it."""

import json
from random import Random
from typing import Any

# Values of every type, at the borders of what a number or a text can be.
NASTY: tuple[Any, ...] = (
    *(None, True, False, 0, 1, -1, 2**31, 2**63 - 1, 2**63, -(2**63), 10**30, 10**400),
    *(0.0, -0.0, 0.5, -1.5, 1e-300, 5e-324, 1e300, float("inf"), float("nan")),
    *(
        "",
        " ",
        "\0",
        "0",
        "01",
        "1e3",
        "full",
        "auto",
        "no",
        "\ud800",
        "\x1b[31mred",
        "../../x",
        "s3://b/k",
        "a" * 3000,
    ),
    *("Stra\u00dfe", "\u202etfel", "\u80a1\u7968", "'; drop table trials; --", "${HOME}", "%s%n", "{0}", "\ufeff"),
    *([], {}, [[]], [None], {"": None}, [1, "1"], {"a": {"a": {}}}),
)


def damaged(content: bytes, draw: Random) -> bytes:
    """The bytes with one damage; they may by chance be the same."""
    if not content:
        return draw.randbytes(draw.randint(0, 9))
    at, end = sorted((draw.randrange(len(content)), draw.randrange(len(content))))
    how = draw.randrange(8)
    if how <= 2:
        flipped = bytearray(content)
        for _ in range(1 if how else draw.randint(2, 9)):
            flipped[draw.randrange(len(content))] ^= 1 << draw.randrange(8)
        return bytes(flipped)
    return (
        content[:at],
        content[:at] + bytes(end - at) + content[end:],
        content[:at] + content[end:],
        content[:at] + content[at:end] * 2 + content[end:],
        draw.choice((b"", b"\0" * len(content), content + content, content + draw.randbytes(9), content[::-1])),
    )[how - 3]


def edited(document: Any, draw: Random) -> Any:
    """A JSON document with one value exchanged, left out, added or moved."""
    if isinstance(document, dict) and document and draw.random() < 0.85:
        key = draw.choice(list(document))
        others = {name: value for name, value in document.items() if name != key}
        how = draw.random()
        if how < 0.6:
            return {**document, key: edited(document[key], draw)}
        if how < 0.75:
            return others
        if how < 0.9:
            return {**others, draw.choice(("", "x", key.upper(), key + " ", "sha256")): document[key]}
        return {**document, key: document[draw.choice(list(document))]}
    if isinstance(document, list) and document and draw.random() < 0.85:
        at = draw.randrange(len(document))
        how = draw.random()
        if how < 0.7:
            return [*document[:at], edited(document[at], draw), *document[at + 1 :]]
        return [*document[:at], *document[at + 1 :]] if how < 0.85 else [*document, document[at]]
    if isinstance(document, int | float) and not isinstance(document, bool) and draw.random() < 0.4:
        return draw.choice((document + 1, document - 1, -document, document * 10, float(document), str(document)))
    return draw.choice(NASTY)


def written(document: Any) -> bytes:
    """A document as JSON, in which halves of surrogate pairs stay what they are."""
    return json.dumps(document).encode()
