"""The bytes of an object of the summary: Parquet, with a checksum of each page and a seal on the whole, and back.

Any reader of Parquet reads it, and by the pages' checksums (CRC-32) can see damage in them. Footers and the heads of
pages have none: of single flipped bits 4 in 100 would still change a table without a word. So our reader looks at the
seal, a sha256 of all other bytes of the file. It lies between the last page and the footer, where Parquet allows any
bytes: what is read is found from the footer's offsets. It is in the file, since an object is published by one PUT.
"""

import hashlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import pyarrow as pa
import pyarrow.parquet as pq

MARK = b"batchscope-seal\x01"
SEAL_BYTES = len(MARK) + hashlib.sha256().digest_size
# What a Parquet file begins and ends with; at its end, after the footer's length (parquet-format, "File Format").
MAGIC = b"PAR1"
TAIL_BYTES = 4 + len(MAGIC)
# Fewer are not worth a thread for each column.
FEW_ROWS = 1000


class DamagedError(ValueError):
    """What was read is not what was written, or no such file at all; the message says why."""


@dataclass(frozen=True)
class Decoded:
    """A file whose footer can be read; one that is not `sealed` is of an older version, or of something else."""

    file: pq.ParquetFile
    sealed: bool

    def rows(self, columns: Sequence[str] | None = None) -> pa.Table:
        """All rows, with all columns or these.

        Raises:
            DamagedError: they cannot be read.
        """
        try:
            return self.file.read(columns=columns, use_threads=self.file.metadata.num_rows > FEW_ROWS)
        except Exception as problem:  # noqa: BLE001 - whatever damage makes of the reader
            raise DamagedError(_reason(problem)) from None

    def metadata(self, key: str) -> bytes | None:
        """What `encode` was given to keep beside the schema under this key."""
        found: bytes | None = (self.file.metadata.metadata or {}).get(key.encode())
        return found


def encode(rows: pa.Table, metadata: Mapping[str, str] | None = None) -> bytes:
    """A table as a sealed file; `metadata` is kept beside the schema."""
    sink = pa.BufferOutputStream()
    # A dictionary of numbers that are all different only makes the file larger.
    texts = [field.name for field in rows.schema if pa.types.is_string(field.type)]
    with pq.ParquetWriter(sink, rows.schema, use_dictionary=texts, write_page_checksum=True) as writer:
        writer.write_table(rows)
        # Here and not in the schema, of which the file holds two copies.
        writer.add_key_value_metadata(dict(metadata or {}))
    body: bytes = sink.getvalue().to_pybytes()
    at = len(body) - TAIL_BYTES - int.from_bytes(body[-TAIL_BYTES : -len(MAGIC)], "little")
    return body[:at] + MARK + hashlib.sha256(body).digest() + body[at:]


def decode(content: bytes) -> Decoded:
    """The file in an object's bytes.

    Raises:
        DamagedError: it is not what was sealed, or no Parquet file.
    """
    sealed = is_sealed(content)
    try:
        # A BufferReader, not BytesIO, with which pyarrow can abort on exit (arrow#50482).
        file = pq.ParquetFile(pa.BufferReader(content), page_checksum_verification=True)
    except Exception as problem:  # noqa: BLE001 - whatever a damaged footer makes of the reader
        raise DamagedError(_reason(problem)) from None
    return Decoded(file, sealed)


def is_sealed(content: bytes) -> bool:
    """Whether an object's bytes have a seal.

    Raises:
        DamagedError: they are not those that were sealed.
    """
    # Searched for: its place is told by bytes that can be damaged themselves.
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
    """Why something cannot be read, in a line."""
    lines = str(problem).splitlines()
    return f"it cannot be read as Parquet ({lines[0] if lines else type(problem).__name__})"
