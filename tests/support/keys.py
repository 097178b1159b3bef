"""Keys and passwords planted in the environment of a command, and where they turn up again."""

from pathlib import Path

KEYS = {
    name: f"planted-{number}-of-the-person"
    for number, name in enumerate(
        (
            *("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SECURITY_TOKEN", "AWS_SESSION_TOKEN"),
            *("BATCHSCOPE_TOKEN", "MLFLOW_TRACKING_PASSWORD", "HF_TOKEN"),
        )
    )
} | {"AWS_ENDPOINT_URL_S3": "https://somebody:planted-password-of-the-person@s3.example.org"}

# The password alone, too: an address may be written in parts.
_VALUES = [value.encode() for value in KEYS.values()] + [b"planted-password"]


def planted_in(text: str) -> bool:
    """Whether a planted key is in a text."""
    return any(value in text.encode() for value in _VALUES)


def holding(folder: Path) -> list[Path]:
    """The files below a folder that have a planted key in them."""
    found = []
    for file in folder.rglob("*"):
        if file.is_file() and any(value in file.read_bytes() for value in _VALUES):
            found.append(file)
    return found
