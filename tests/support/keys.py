"""Keys planted in the environment of a command, and where they turn up again."""

from pathlib import Path

KEYS = {
    name: f"planted-{number}-of-the-person"
    for number, name in enumerate(
        ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SECURITY_TOKEN", "AWS_SESSION_TOKEN")
    )
}


def holding(folder: Path) -> list[Path]:
    """The files below a folder that have a planted key in them."""
    found = []
    for file in folder.rglob("*"):
        if file.is_file() and any(value.encode() in file.read_bytes() for value in KEYS.values()):
            found.append(file)
    return found
