"""Files of kinds that are not read: what to do about the usual ones."""

_UNPACK = {
    ".gz": "gunzip -k {}",
    ".bz2": "bunzip2 -k {}",
    ".xz": "unxz -k {}",
    ".zst": "zstd -d {}",
    ".zip": "unzip {}",
    ".lz4": "lz4 -d {}",
    ".br": "brotli -d {}",
}
PACKED = tuple(_UNPACK)
_SHEETS = (".xlsx", ".xls", ".xlsm", ".ods", ".numbers")
_TABLES = (".feather", ".arrow", ".orc", ".avro", ".dta", ".sav", ".pkl", ".pickle")


def remedy(name: str, ending: str) -> str:
    """What to do about a file with this ending; empty where nothing is known about it."""
    if ending in _UNPACK:
        return f"unpack it first: {_UNPACK[ending].format(name)}"
    if ending in _SHEETS:
        return "save its sheet as CSV (in Excel: Save As, CSV UTF-8)"
    if ending in _TABLES:
        return "write it as Parquet, such as with pandas: frame.to_parquet('articles.parquet')"
    return "rename it to .csv, .tsv or .jsonl if it is that" if ending in (".txt", ".dat", ".tab", "") else ""
