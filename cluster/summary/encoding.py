"""Encoding and decoding an object of the summary: Parquet, with a checksum of each page and a seal on the whole.

Any Parquet reader can read it, and can detect damage to pages by their checksums (CRC-32). Footers and page headers
have no checksum: 4 in 100 single flipped bits would still change a table silently. So our reader checks the seal, a
sha256 of all other bytes of the file. The seal lies between the last page and the footer, where Parquet allows any
bytes, because readers find everything by the footer's offsets. It is in the file because an object is published by one
PUT.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq

MARK = b"batchscope-seal\x01"
SEAL_BYTES = len(MARK) + hashlib.sha256().digest_size
# A Parquet file begins and ends with this; at the end, it follows the footer's length (parquet-format, "File Format").
MAGIC = b"PAR1"
TAIL_BYTES = 4 + len(MAGIC)
# For fewer rows, a thread for each column does not pay.
FEW_ROWS = 1000


class DamagedError(ValueError):
    """What was read is not what was written, or is not such a file at all; the message says why."""


@dataclass(frozen=True)
class Decoded:
    """A file whose footer can be read; if it is not `sealed`, an older version or another program wrote it."""

    file: pq.ParquetFile
    sealed: bool

    def rows(self, columns: Sequence[str] | None = None) -> pa.Table:
        """All rows, with all columns or these.

        Raises:
            DamagedError: the rows cannot be read.
        """
        try:
            return self.file.read(columns=columns, use_threads=self.file.metadata.num_rows > FEW_ROWS)
        except Exception as problem:  # noqa: BLE001 - damage may raise anything in the reader
            raise DamagedError(_reason(problem)) from None

    def metadata(self, key: str) -> bytes | None:
        """The value that `encode` stored under this key."""
        value: bytes | None = (self.file.metadata.metadata or {}).get(key.encode())
        return value


def encode(rows: pa.Table, metadata: Mapping[str, str] | None = None) -> bytes:
    """A table as a sealed file; `metadata` is stored next to the schema."""
    sink = pa.BufferOutputStream()
    # A dictionary of numbers that all differ only makes the file larger.
    texts = [field.name for field in rows.schema if pa.types.is_string(field.type)]
    with pq.ParquetWriter(sink, rows.schema, use_dictionary=texts, write_page_checksum=True) as writer:
        writer.write_table(rows)
        # Not in the schema, of which the file holds two copies.
        writer.add_key_value_metadata(dict(metadata or {}))
    body: bytes = sink.getvalue().to_pybytes()
    at = len(body) - TAIL_BYTES - int.from_bytes(body[-TAIL_BYTES : -len(MAGIC)], "little")
    return body[:at] + MARK + hashlib.sha256(body).digest() + body[at:]


def decode(content: bytes) -> Decoded:
    """The file in an object's bytes.

    Raises:
        DamagedError: the bytes are not those that were sealed, or are not a Parquet file.
    """
    sealed = is_sealed(content)
    try:
        # A BufferReader, not BytesIO, with which pyarrow can abort on exit (arrow#50482).
        file = pq.ParquetFile(pa.BufferReader(content), page_checksum_verification=True)
    except Exception as problem:  # noqa: BLE001 - a damaged footer may raise anything in the reader
        raise DamagedError(_reason(problem)) from None
    return Decoded(file, sealed)


def is_sealed(content: bytes) -> bool:
    """Whether an object's bytes have a seal.

    Raises:
        DamagedError: they are not those that were sealed.
    """
    # Searched for, because the bytes that give its place can be damaged themselves.
    at = content.rfind(MARK)
    if at < 0:
        return False
    view = memoryview(content)
    digest = hashlib.sha256(view[:at])
    digest.update(view[at + SEAL_BYTES :])
    if digest.digest() != view[at + len(MARK) : at + SEAL_BYTES]:
        raise DamagedError("its bytes are not those that were written (its seal does not fit)")
    return True


def _reason(problem: Exception) -> str:
    """Why something cannot be read, in one line."""
    lines = str(problem).splitlines()
    return f"it cannot be read as Parquet ({lines[0] if lines else type(problem).__name__})"
