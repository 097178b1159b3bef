"""A number with its noun, which is one or several."""


def counted(number: int, noun: str) -> str:
    """Such as `1 seed` or `1,200 seeds`."""
    return f"{number:,} {noun}{'s' * (number != 1)}"
