"""A number with its noun in the singular or plural."""


def counted(number: int, noun: str) -> str:
    """The number and its noun, such as `1 seed` or `1,200 seeds`."""
    return f"{number:,} {noun}{'s' * (number != 1)}"
