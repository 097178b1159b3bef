"""Addresses for messages and logs, without the name and password before their `@`."""

import re


def masked(text: str) -> str:
    """The text, which is an address or a sentence with addresses, without the secrets in them."""
    return re.sub(r"((?:[a-z][a-z0-9+.-]*:)?//|)[^\s'\"(<]*@", r"\1", text, flags=re.IGNORECASE)
