"""Every message that crosses the trust line, and the framing of an answer.

    gateway -> agent   GET    /v1/relations              -> RelationList
                       POST   /v1/fragment  Fragment     -> Arrow IPC stream, closed by an EndRecord
                       DELETE /v1/fragment/{fragment_id}
                       GET    /v1/ledger/head            -> Head

A refusal before the first byte is an HTTP error whose JSON body is `CityError.to_dict()`. After the
first byte the only way to say anything is the end record: the stream's last batch is empty and its
custom metadata holds the `EndRecord`. A stream without one was cut; it is an error, never a short answer.
"""

from __future__ import annotations

import base64
import builtins
import hashlib
import io
from collections.abc import Sequence
from typing import Any, Final, Literal

import orjson
import pyarrow as pa
from pydantic import (
    BaseModel,
    ConfigDict,
    Field,
    SerializerFunctionWrapHandler,
    TypeAdapter,
    model_serializer,
    model_validator,
)

from catalog.ipc import Reader

__all__ = [
    "END_KEY",
    "KEYS_TABLE",
    "KEYS_TABLES",
    "KEY_COLUMNS",
    "WARNINGS_KEY",
    "EndRecord",
    "Fragment",
    "Head",
    "Question",
    "Receipt",
    "canonical_json",
    "decode_keys",
    "distinct",
    "encode_keys",
    "first_warnings",
    "key_fields",
    "key_parts",
    "key_table",
]

VERSION: Final = 1
SEVERAL_SETS: Final = 2
"""Of a fragment with several sets of bind keys: whoever reads but one refuses it."""
END_KEY = b"atoll-end"
WARNINGS_KEY = b"atoll-warnings"
"""In the metadata of a stream's schema: the end record's warnings that are known before the first row."""
KEYS_TABLE = "$keys"
"""The table of bind keys in a fragment: `WHERE org_no IN (SELECT k FROM "$keys")`."""
KEYS_TABLES = (KEYS_TABLE, "$keys1", "$keys2", "$keys3")
"""The tables of several sets, in their order."""
KEY_COLUMNS = ("k", "k1", "k2")
"""The columns of a set, in their order: one, or those of keys that have several parts."""


def canonical_json(value: Any) -> bytes:
    """The one byte form that is hashed and signed: sorted keys, no blanks, UTF-8.

    Numbers are integers or strings only where a digest depends on them; floats are refused.
    """
    _refuse_floats(value)
    return orjson.dumps(value, option=orjson.OPT_SORT_KEYS)


def _refuse_floats(value: Any) -> None:
    if isinstance(value, float):
        raise TypeError("a float has no canonical form: use an integer or a string")
    inner = value.values() if isinstance(value, dict) else value if isinstance(value, (list, tuple)) else ()
    for v in inner:
        if type(v) not in _WHOLE:
            _refuse_floats(v)


_WHOLE = (str, int, bool, type(None))


class _Message(BaseModel):
    model_config = ConfigDict(frozen=True, extra="forbid")


class Head(_Message):
    """The newest entry of a hash-chained ledger: number, hash (hex), Ed25519 signature of both (base64)."""

    seq: int = Field(ge=0)
    hash: str = Field(pattern="^([0-9a-f]{64})?$")
    signature: str = Field(default="", max_length=128)


class Question(_Message):
    """The statement that a fragment serves, as its user sent it, and the user's own signature (`catalog.question`)."""

    sql: str = Field(max_length=1_000_000)
    proof: str = Field(max_length=2_000)


class Fragment(_Message):
    """One SELECT in Trino's dialect over the department's own governed relations.

    sql: relations by full name (`water.main.company_month`), outputs labelled c0..cn, CTE and alias
    names generated, nothing quoted but "$keys" and its like.
    keys: bind keys, base64 of an Arrow IPC stream with one column `k`, or the first of `KEY_COLUMNS` where keys have
    several parts (see `encode_keys`), or None.
    key_sets: two sets or more instead, each such a stream; the text names them as `KEYS_TABLES`. Version 2.
    timeout: seconds that the gateway is willing to wait; the agent's own limit may be lower.
    dry_run: decide and answer the verdict (an empty stream), run nothing.
    time_zone: of the session, where that is not UTC: moments without a zone lie in it.
    witness: the gateway's ledger head, which the agent records.
    question: the user's statement with the user's signature, where the client signed it.
    """

    version: Literal[1, 2] = VERSION
    query_id: str = Field(pattern=r"^[A-Za-z0-9_]{1,64}$")
    fragment_id: str = Field(pattern=r"^[A-Za-z0-9_]{1,80}$")
    sql: str
    keys: str | None = None
    key_sets: tuple[str, ...] = Field(default=(), max_length=len(KEYS_TABLES))
    timeout: int = Field(default=60, ge=1, le=3600)
    dry_run: bool = False
    time_zone: str = Field(default="", max_length=64)
    witness: Head | None = None
    question: Question | None = None

    @model_validator(mode="after")
    def _sets_of_its_version(self) -> Fragment:
        """One set or none is version 1, several are version 2: no message says in two ways what it brings."""
        several = len(self.key_sets) > 1 and self.keys is None
        if self.version == SEVERAL_SETS and not several:
            raise ValueError("version 2 brings several sets of keys")
        if self.version == VERSION and self.key_sets:
            raise ValueError("version 1 brings one set of keys at most")
        return self

    @model_serializer(mode="wrap")
    def _as_its_version(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return _without(write(self), "key_sets", "time_zone")

    @property
    def parts(self) -> tuple[str, ...]:
        """All sets of keys, in the order of `KEYS_TABLES`."""
        return self.key_sets or (() if self.keys is None else (self.keys,))


def key_fields(parts: Sequence[str]) -> dict[str, Any]:
    """The fields of a `Fragment` that bring these sets of keys, in the version of so many."""
    if len(parts) > 1:
        return {"version": SEVERAL_SETS, "key_sets": tuple(parts)}
    return {"keys": parts[0]} if parts else {}


def _without(fields: dict[str, Any], *names: str) -> dict[str, Any]:
    """A message without fields that older readers do not know, where they say nothing."""
    return {k: v for k, v in fields.items() if k not in names or v}


class Receipt(_Message):
    """What an agent certifies about one answer; rides in the end record and is verifiable offline.

    bytes: of the Arrow stream as sent, without the end record. micros: time spent in the source, rounded up to
    50 ms, and 0 in aggregate and verify modes, where it would tell how many rows are hidden.
    masks: "relation.column: kind". suppressed: cells withheld against public code lists, None if
    unknown or not in aggregate mode. vintages: relation -> ISO time of the snapshot that answered.
    synthetic: relations whose rows were generated: what was delivered is not real data.
    keys: of several sets of bind keys, how many came in each, by its table's name. time_zone: in which moments without
    a zone were read, where that was not UTC. keep_seconds: for so long after `at` the gateway may give the
    answer to the same user again, 0 never.
    delivered: SHA-256 of the delivered stream. ledger: the `end` record's place in the agent's ledger.
    signature: Ed25519 by the agent's receipt key over `signed_bytes()`, base64.
    """

    id: str
    department: str
    query_id: str
    fragment_id: str
    sub: str
    purpose: str
    sql_sha256: str
    relations: tuple[str, ...] = ()
    mode: str = ""
    masks: tuple[str, ...] = ()
    filtered: tuple[str, ...] = ()
    grants: tuple[str, ...] = ()
    rows: int = 0
    bytes: int = 0
    micros: int = 0
    suppressed: int | None = None
    vintages: dict[str, str] = {}
    synthetic: tuple[str, ...] = ()
    keys: dict[str, int] = {}
    time_zone: str = ""
    keep_seconds: int = 0
    policy: str = ""
    delivered: str = ""
    ledger: Head
    at: str = ""
    signature: str = ""

    @model_serializer(mode="wrap")
    def _as_asked(self, write: SerializerFunctionWrapHandler) -> dict[str, Any]:
        return _without(write(self), "keys", "time_zone", "keep_seconds")

    def signed_bytes(self) -> builtins.bytes:
        return canonical_json(self.model_dump(mode="json", exclude={"signature"}))


class EndRecord(_Message):
    """Closes every stream. outcome: an `Outcome` name. error: `CityError.to_dict()` unless OK.

    warnings: sentences for the analyst (suppressed cells). signature: Ed25519 by the agent's receipt
    key over `signed_bytes()`, base64.
    """

    version: int = VERSION
    outcome: str
    rows: int
    error: dict[str, Any] | None = None
    warnings: tuple[str, ...] = ()
    receipt: Receipt | None = None
    signature: str = ""

    def signed_bytes(self) -> bytes:
        return canonical_json(self.model_dump(mode="json", exclude={"signature"}))

    def to_metadata(self) -> dict[bytes, bytes]:
        """Custom metadata of the last, empty batch."""
        return {END_KEY: orjson.dumps(self.model_dump(mode="json"))}

    @classmethod
    def from_metadata(cls, metadata: Any) -> EndRecord | None:
        """The end record in a batch's custom metadata, None if this batch carries none.

        Raises pydantic.ValidationError for a malformed one: the caller treats that as a cut stream.
        """
        raw = dict(metadata).get(END_KEY) if metadata is not None else None
        return None if raw is None else cls.model_validate_json(raw)


def first_warnings(schema: pa.Schema) -> tuple[str, ...]:
    """What a stream's schema says under WARNINGS_KEY. Raises ValueError if it is malformed."""
    return _WARNINGS.validate_json((schema.metadata or {}).get(WARNINGS_KEY, b"[]"))


_WARNINGS = TypeAdapter(tuple[str, ...])


def key_parts(keys: pa.Array) -> list[pa.Array]:
    """The parts of a set of keys, an array each: of values one, of structs (`distinct`) as many as they have fields."""
    return list(keys.flatten()) if isinstance(keys, pa.StructArray) else [keys]


def key_table(keys: pa.Array) -> pa.Table:
    """A set of keys as a table: of the column `k`, or of each part."""
    parts = key_parts(keys)
    return pa.table(parts, names=list(KEY_COLUMNS[: len(parts)]))


def distinct(table: pa.Table) -> pa.Array:
    """The rows of a table as keys, each once and without those that have a NULL: structs of several columns."""
    if table.num_columns == 1:
        return table.column(0).combine_chunks().unique().drop_null()
    names = list(KEY_COLUMNS[: table.num_columns])
    once = table.rename_columns(names).drop_null().group_by(names).aggregate([])
    parts = [column.combine_chunks() for column in once.select(names).columns]
    return pa.StructArray.from_arrays(parts, names=names)


def encode_keys(keys: pa.Array) -> str:
    """Bind keys (distinct, no NULLs) -> the text that travels in `Fragment.keys`."""
    sink = pa.BufferOutputStream()
    table = key_table(keys)
    batch = pa.record_batch([column.combine_chunks() for column in table.columns], names=table.schema.names)
    with pa.ipc.new_stream(sink, batch.schema) as writer:
        writer.write_batch(batch)
    return base64.b64encode(sink.getvalue().to_pybytes()).decode()


def decode_keys(text: str) -> pa.Array:
    """Inverse of `encode_keys`, each key once. Raises ValueError for anything but plain columns without NULLs, the
    first of `KEY_COLUMNS`.

    The sender is not trusted: offsets that point out of the message would read this process's memory, and a few
    packed bytes would fill it. Keys that unpack to more than was sent are refused.
    """
    raw = base64.b64decode(text, validate=True)
    try:
        reader = Reader(io.BytesIO(raw).readinto, most_bytes=len(raw))
        first = reader.next()
        if first is None or reader.next() is not None:
            raise ValueError("not one batch")
    except (pa.ArrowException, OSError, ValueError) as bad:
        raise ValueError("the keys part is no plain Arrow stream") from bad
    batch, _ = first
    names, columns = batch.schema.names, batch.columns
    if not columns or names != list(KEY_COLUMNS[: len(names)]):
        raise ValueError(f"the keys part has one to three columns: {', '.join(KEY_COLUMNS)}")
    if any(column.null_count or not _is_plain(column.type) for column in columns):
        raise ValueError("the keys part has plain values, without NULLs")
    return distinct(pa.Table.from_batches([batch]))


def _is_plain(kind: pa.DataType) -> bool:
    return bool(pa.types.is_primitive(kind) or pa.types.is_string(kind) or pa.types.is_decimal128(kind))


def sha256(data: bytes | str) -> str:
    """Hex SHA-256 of bytes, or of a text's UTF-8."""
    return hashlib.sha256(data.encode() if isinstance(data, str) else data).hexdigest()
