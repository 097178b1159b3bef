"""Where a summary can be: a folder, and a bucket on a local server that speaks S3."""

from pathlib import Path

import pytest


@pytest.fixture(params=["folder", "s3"])
def place(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    """An address at which nothing is yet."""
    if request.param == "folder":
        return str(tmp_path / "deep" / "summary")
    return f"s3://{request.getfixturevalue('bucket')}/some/summary"
