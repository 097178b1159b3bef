"""The addresses of `serve`, and the OpenAPI 3.1 document of those under /api, made from the tables' columns."""

import importlib.metadata
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pyarrow as pa

from cluster.summary import query
from cluster.summary.tables import AXES, EVALUATIONS, PROBES, STATES, TRIALS
from cluster.summary.tables import STUDIES as SPECS
from cluster.text.formats import SCHEMA_VERSION

INDEX, PAGE, COMPARE = "/", "/studies/{study}", "/compare"
TRIAL = f"{PAGE}/trials/{{trial}}"
DOCUMENT, STUDIES, STUDY = "/api/openapi.json", "/api/studies", "/api/studies/{study}"
VERDICT = f"{STUDY}/verdict"
TABLES = {name: f"{STUDY}/{name}" for name in ("points", "trials", "evaluations", "probes")}


@dataclass(frozen=True)
class Bounds:
    """The limits of a whole number in a query, and its default."""

    default: int
    least: int
    most: int
    meaning: str


QUERY = {
    "offset": Bounds(0, 0, 10**12, "rows left out at the beginning"),
    "limit": Bounds(1000, 1, 10_000, "rows at most"),
}
_TEXT, _NUMBER, _COUNT = {"type": "string"}, {"type": "number"}, {"type": "integer", "minimum": 0}
_TIME = {"type": "string", "format": "date-time"}


def document() -> dict[str, Any]:
    """The document, for OpenAPI 3.1."""
    operations = {
        STUDIES: _operation("All studies, and how far each has come", "Studies"),
        STUDY: _operation("One study's progress, its running trials, and its specs", "Study", of_study=True),
        VERDICT: _operation("What the study shows, and what it cannot", "Verdict", of_study=True),
        DOCUMENT: _operation("This document", "Document"),
    }
    for name, path in TABLES.items():
        operations[path] = _operation(f"Rows of the study's table of {name}", name.title(), of_study=True, rows=True)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "batchscope serve",
            "version": importlib.metadata.version("batchscope"),
            "description": "Results of studies, read-only: GET and HEAD, each answer with an ETag. If a token is "
            "required, send it as `Authorization: Bearer`. Unknown values are null.",
        },
        "security": [{}, {"token": []}],
        "paths": {path: {"get": operation} for path, operation in operations.items()},
        "components": {
            "securitySchemes": {"token": {"type": "http", "scheme": "bearer"}},
            "schemas": _schemas(),
            "responses": {
                "Unchanged": {"description": "The reader already has this content (If-None-Match)"},
                "Refused": {"description": "One line with the reason", "content": _content("Error")},
            },
        },
    }


def _operation(summary: str, schema: str, *, of_study: bool = False, rows: bool = False) -> dict[str, Any]:
    study = {"name": "study", "in": "path", "required": True, "schema": _TEXT}
    paging = [
        {
            "name": name,
            "in": "query",
            "description": limits.meaning,
            "schema": {"type": "integer", "minimum": limits.least, "maximum": limits.most, "default": limits.default},
        }
        for name, limits in QUERY.items()
    ]
    refused = {"$ref": "#/components/responses/Refused"}
    codes = ["400"] * rows + ["401", "403"] + ["404"] * of_study + ["405", "500", "503"]
    return {
        "operationId": f"get{schema}",
        "summary": summary,
        "parameters": [study] * of_study + paging * rows,
        "responses": {
            "200": {"description": summary, "content": _content(schema)},
            "304": {"$ref": "#/components/responses/Unchanged"},
            **dict.fromkeys(codes, refused),
        },
    }


def _content(schema: str) -> dict[str, Any]:
    return {"application/json": {"schema": {"$ref": f"#/components/schemas/{schema}"}}}


def _schemas() -> dict[str, Any]:
    points = query.points(TRIALS.empty_table()).schema
    return {
        "Error": _object({"error": _TEXT}),
        "Document": {"type": "object", "required": ["openapi", "info", "paths"]},
        "Studies": _object({"table": {"const": "studies"}, "rows": _rows(_LISTED | _PROGRESS), "problems": _PROBLEMS}),
        "Study": _object(
            {
                "study": _TEXT,
                **_PROGRESS,
                "running_trials": _rows(_RUNNING),
                "specs": _rows(_columns(SPECS)),
                "problems": _PROBLEMS,
            }
        ),
        "Points": _table("points", points),
        "Trials": _table("trials", TRIALS),
        "Evaluations": _table("evaluations", EVALUATIONS),
        "Probes": _table("probes", PROBES),
        "Verdict": {
            "type": "object",
            "required": ["schema_version", "study", "declared", "groups", "sentences"],
            "properties": {
                "schema_version": _COUNT,
                "study": _TEXT,
                "declared": {"type": "object"},
                "groups": {"type": "array", "items": {"type": "object"}},
                "sentences": {"type": "array", "items": _TEXT},
            },
        },
    }


def _table(name: str, schema: pa.Schema) -> dict[str, Any]:
    return _object({"table": {"const": name}, "total": _COUNT, "offset": _COUNT, "rows": _rows(_columns(schema))})


def _object(properties: Mapping[str, Any]) -> dict[str, Any]:
    return _closed({"schema_version": {"const": SCHEMA_VERSION}, **properties})


def _rows(properties: Mapping[str, Any]) -> dict[str, Any]:
    return {"type": "array", "items": _closed(properties)}


def _closed(properties: Mapping[str, Any]) -> dict[str, Any]:
    """An object that has all of the properties and no others."""
    return {
        "type": "object",
        "properties": dict(properties),
        "required": list(properties),
        "additionalProperties": False,
    }


def _columns(schema: pa.Schema) -> dict[str, Any]:
    return {field.name: _or_null(_kind(field.type)) for field in schema}


def _kind(kind: pa.DataType) -> dict[str, Any]:
    if pa.types.is_timestamp(kind):
        return _TIME
    if pa.types.is_integer(kind):
        return {"type": "integer"}
    return _NUMBER if pa.types.is_floating(kind) else _TEXT


def _or_null(schema: Mapping[str, Any]) -> dict[str, Any]:
    return {**schema, "type": [schema["type"], "null"]}


_PROBLEMS = {"type": "array", "items": _TEXT, "description": "Objects of the summary that are left out, and why"}
_PROGRESS = {
    "asked": _or_null(_COUNT),
    "done": _COUNT,
    "running": _COUNT,
    "waiting": _or_null(_COUNT),
    "going_on": {"type": "boolean"},
    **{state.lower(): _COUNT for state in STATES},
    "cost_usd": _or_null(_NUMBER),
    "running_usd": _or_null(_NUMBER),
    "unpriced_attempts": _COUNT,
    "why_failed": _or_null(_TEXT),
}
_LISTED = {
    "study": _TEXT,
    "task": _or_null(_TEXT),
    "data": _or_null(_TEXT),
    "description": _or_null(_TEXT),
    "tags": _or_null(_TEXT),
    "started_at": _or_null(_TIME),
    "last_started_at": _or_null(_TIME),
    "trials": _or_null(_COUNT),
    "lowest_validation_loss_mean": _or_null(_NUMBER),
    "lowest_seeds": _or_null(_COUNT),
    "lowest_global_batch": _or_null(_COUNT),
    "answer": {**_or_null(_TEXT), "description": "The answer in a line; null until it has been worked out"},
}
_RUNNING = {
    "trial_id": _TEXT,
    "attempt": _COUNT,
    "phase": _or_null(_TEXT),
    **{name: _kind(TRIALS.field(name).type) for name in AXES},
    "started_at": _TIME,
    "updates": _COUNT,
    "planned_updates": _or_null(_COUNT),
    "validation_loss": _or_null(_NUMBER),
}
