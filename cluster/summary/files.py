"""The Parquet files of one table as a pyarrow data set, from known names, without listing anything."""

from collections.abc import Sequence

import pyarrow as pa
import pyarrow.dataset as pads
from pyarrow import fs as pafs

CHECKED = pads.ParquetFragmentScanOptions(page_checksum_verification=True)


def dataset(paths: Sequence[tuple[str, str | None]], schema: pa.Schema) -> pads.Dataset:
    """The files at `paths`, each with the study of its rows; columns of `schema` that a file lacks are null.

    The study is given and not inferred from a folder's name, because a name such as 2024 is also text.
    """
    if not paths:
        return pads.dataset(schema.empty_table())
    return pads.FileSystemDataset.from_paths(
        [path for path, _ in paths],
        schema=schema,
        format=pads.ParquetFileFormat(default_fragment_scan_options=CHECKED),
        filesystem=pafs.LocalFileSystem(),
        partitions=[pads.scalar(True) if study is None else pads.field("study") == study for _, study in paths],
    )
