"""Addresses for messages and logs: whatever stands before their `@`, a name and a password, is left out."""

import re


def masked(text: str) -> str:
    """The text, an address or a sentence with addresses in it, without what is secret in them."""
    return re.sub(r"((?:[a-z][a-z0-9+.-]*:)?//|)[^\s'\"(<]*@", r"\1", text, flags=re.IGNORECASE)
