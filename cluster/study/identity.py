"""What identifies a study's spec: its canonical JSON, the hash of it, and what may not change under one name."""

import hashlib
import json
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime
from typing import Any

from cluster.study.chosen_rates import BEST_OF_GRID
from cluster.study.looks import NONE
from cluster.study.spec import StudySpec, parse
from trainer.errors import InputError

# Other axes, budgets or resources under the same name only add trials. Another task or model, or another
# of the other keys in _FIXED, makes another study, because no column would tell its trials apart.
_FIXED = ("task", "model", "shuffle", "schedule", "warmup", "beta1", "beta2", "weight_decay", "average")
# A protocol without these keys is of a version that knew no other values.
_ADDED_TO_PROTOCOL = {"rates": BEST_OF_GRID, "looks": NONE}
_ADDED: dict[str, object] = {
    "shuffle": None,
    "protocol": None,
    "schedule": "constant",
    "warmup": None,
    "beta1": "fixed",
    "beta2": "fixed",
    "weight_decay": "fixed",
    "average": None,
    "description": None,
    "tags": [],
}
# What a person writes about a study asks for nothing, and where it is kept, or under which name, changes no number.
_WORDS = ("description", "tags")
_PLACES = ("study", "data", "summary")
_UNKNOWN = datetime.max.replace(tzinfo=UTC)


def canonical_json(spec: StudySpec) -> str:
    """The spec with all defaults filled in, as JSON; `stored` reads it back."""
    fields = spec.model_dump(mode="json")
    for key, default in _ADDED.items():
        if fields[key] == default:
            # A spec that does not use a newer key keeps the identity that it had before the key existed.
            del fields[key]
    if "protocol" in fields:
        fields["protocol"] = {
            key: value for key, value in fields["protocol"].items() if _ADDED_TO_PROTOCOL.get(key) != value
        }
    fields["axes"] = {name: axis for name, axis in fields["axes"].items() if axis is not None}
    if fields["resources"]["memory_gib"] is None:
        del fields["resources"]["memory_gib"]
    return json.dumps(fields, sort_keys=True, separators=(",", ":"))


def stored(text: str, *, where: str) -> StudySpec:
    """The spec in a canonical JSON, of this version or an earlier one; `where` names it in errors.

    Raises:
        InputError: the text is not a study that this version can read.
    """
    try:
        fields = json.loads(text)
    except ValueError:
        return parse(text, where=where)
    if isinstance(fields, dict) and isinstance(fields.get("protocol"), dict):
        fields["protocol"] = _ADDED_TO_PROTOCOL | fields["protocol"]
    return parse(json.dumps(fields), where=where)


def whole_json(spec: StudySpec) -> str:
    """The spec with every key, as JSON; `spec.parse` reads it back."""
    return spec.model_dump_json()


def spec_hash(spec: StudySpec) -> str:
    """16 hexadecimal digits that identify what a spec asks for: the same for any name, paths, description and tags.

    The data are identified by their own hash, and the trials by theirs (`trainer.trial.TrialSpec`).
    """
    return _hashed(json.loads(canonical_json(spec)), without=(*_WORDS, *_PLACES))


def run_hash(spec: StudySpec) -> str:
    """16 hexadecimal digits that identify what a job runs: what the spec asks for, of which data, and into where."""
    return _hashed(json.loads(canonical_json(spec)), without=_WORDS)


def known_as(spec: StudySpec, rows: Iterable[Mapping[str, Any]]) -> str:
    """The `spec_hash` under which a summary knows the spec, from its study's `rows` of `studies`.

    Earlier versions also hashed the name and the paths, so a spec whose data moved had two rows: the first one counts.
    """
    own = spec_hash(spec)
    alike = [row for row in rows if row["spec_hash"] == own or _asks_for(row["spec_json"]) == own]
    first = min(alike, key=lambda row: row["declared_at"] or row["started_at"] or _UNKNOWN, default=None)
    return own if first is None else str(first["spec_hash"])


def _asks_for(spec_json: str | None) -> str | None:
    """The `spec_hash` of a spec that is given as its canonical JSON; None if that is damaged."""
    try:
        fields = json.loads(spec_json or "null")
    except ValueError:
        return None
    return _hashed(fields, without=(*_WORDS, *_PLACES)) if isinstance(fields, dict) else None


def _hashed(fields: Mapping[str, Any], *, without: Iterable[str]) -> str:
    kept = {key: value for key, value in fields.items() if key not in without}
    return hashlib.sha256(json.dumps(kept, sort_keys=True, separators=(",", ":")).encode()).hexdigest()[:16]


def changed(old_json: str, new: StudySpec) -> list[str]:
    """The differences that one study name does not allow, such as `model.lstm_units: 128 -> 256`.

    `old_json` is the canonical JSON of the spec under which the study ran before. The caller compares the data, by
    their `data_hash`.
    """
    return differences(old_json, canonical_json(new))


def differences(old_json: str, new_json: str) -> list[str]:
    """The same of two canonical JSONs."""
    before, after = json.loads(old_json), json.loads(new_json)
    old, now = _fixed(before), _fixed(after)
    if before.get("protocol") and after.get("protocol"):
        old |= {f"protocol.{key}": before["protocol"].get(key, value) for key, value in _ADDED_TO_PROTOCOL.items()}
        now |= {f"protocol.{key}": after["protocol"].get(key, value) for key, value in _ADDED_TO_PROTOCOL.items()}
    return [
        f"{key}: {_shown(old, key)} -> {_shown(now, key)}"
        for key in {**old, **now}
        if (key in old, old.get(key)) != (key in now, now.get(key))
    ]


def refuse_other_study(spec: StudySpec, data_hash: str, rows: Iterable[Mapping[str, Any]]) -> None:
    """Refuse a name under which another study was run, according to `rows` of a summary's `studies`.

    Raises:
        InputError: the name has another study; the message names the part of the spec, or the data, that differs.
    """
    for row in rows:
        if row["spec_json"] is None:
            continue
        different = changed(row["spec_json"], spec)
        if row["data_hash"] != data_hash:
            different.append(f"data: {row['data']} ({row['data_hash'][:8]}) -> {spec.data} ({data_hash[:8]})")
        if different:
            raise InputError(
                f"study {spec.study!r} was run before with another {'; '.join(different)}: give this one another name"
                f"{_or_as_before(different)}"
            )


def _or_as_before(different: list[str]) -> str:
    """What continues a study that an earlier version began, if nothing else differs."""
    if not all(one.startswith("protocol.") for one in different):
        return ""
    kept = ", ".join(one.removeprefix("protocol.").partition(" -> ")[0] for one in different)
    return f", or write protocol: {{{kept}}} to continue it as it began"


def _fixed(fields: dict[str, Any]) -> dict[str, Any]:
    dotted: dict[str, Any] = {}
    for key in _FIXED:
        value = fields.get(key, {})
        dotted |= {f"{key}.{name}": inner for name, inner in value.items()} if isinstance(value, dict) else {key: value}
    return dotted


def _shown(fields: dict[str, Any], key: str) -> str:
    value = fields.get(key, "(none)")
    return value if isinstance(value, str) else json.dumps(value)
