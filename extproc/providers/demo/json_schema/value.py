"""A JSON value that a JSON Schema allows, filled from what a user wrote.

Read: ``$ref`` within the schema, ``const``, ``enum``, ``default``, ``type``, ``properties``, ``required``,
``minProperties``, ``additionalProperties``, ``items``, ``prefixItems``, ``minItems``, ``maxItems``, ``uniqueItems``,
``anyOf``, ``oneOf`` (as ``anyOf``), ``allOf`` (its members laid over each other), and what string.py and number.py
name. Everything else is passed over, such as ``not``, ``if`` and ``contains``.

- An ``enum`` gives the value that the user's text mentions, else the ``default`` or the first.
- A ``default`` of the right type is used as it is, except that null gives way to a value of another type.
- Every property is written; an optional one is left out where it has no finite value or the schema is too large.
- An array has one item where it may.

https://json-schema.org/draft/2020-12
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from itertools import islice
from typing import Any, Final

import orjson

from extproc.providers.demo.json_schema.number import write_number
from extproc.providers.demo.json_schema.offered import Offered
from extproc.providers.demo.json_schema.reading import NoValue, Schema, count_of, flatten, list_of, types_of
from extproc.providers.demo.json_schema.string import write_string

_WORK: Final = 20_000
"""Schemas visited, their members and what is written: references can make a small schema ask for a huge value."""
_DEEPEST: Final = 48
_BYTES_A_UNIT: Final = 16
_ENUM_READ: Final = 200


@dataclass(frozen=True, slots=True, kw_only=True)
class _Place:
    """Where in the value: the property's ``name``, the item's ``ordinal``, and the references being followed."""

    name: str = ""
    ordinal: int = 0
    depth: int = 0
    references: frozenset[str] = frozenset()


def write_value(schema: Mapping[str, Any], text: str) -> object:
    """A value for ``schema``, whose root is an object unless it says otherwise; ``text`` is what the user wrote.

    Raises NoValue.
    """
    return _Writer(schema, Offered(text)).write(schema, _Place(references=frozenset({"#"})))


class _Writer:
    """One value being written: what the text still offers, and how much work is left."""

    def __init__(self, root: Mapping[str, Any], offered: Offered) -> None:
        self._root = root
        self._offered = offered
        self._left = _WORK

    def write(self, schema: object, place: _Place) -> object:
        if place.depth > _DEEPEST:
            raise NoValue("it is nested too deep")
        flat = flatten(schema, self._root, place.references, self._spend)
        fields = flat.fields
        place = replace(place, references=flat.references)
        for combination in ("anyOf", "oneOf"):
            if isinstance(fields.get(combination), list):
                return self._first_of(fields, combination, place)
        if "const" in fields:
            return self._as_it_is(fields["const"])
        if isinstance(fields.get("enum"), list):
            return self._as_it_is(self._one_of(fields, place))
        types = types_of(fields, otherwise="string" if place.depth else "object")
        default = fields.get("default")
        if default is not None and any(kind.holds(default) for kind in types):
            return self._as_it_is(default)
        return self._of_first_type([kind.name for kind in types], fields, place)

    def _of_first_type(self, types: list[str], fields: Schema, place: _Place) -> object:
        for kind in types[:-1]:
            try:
                return self._of_type(kind, fields, place)
            except NoValue:
                continue
        return self._of_type(types[-1], fields, place)

    def _of_type(self, kind: str, fields: Schema, place: _Place) -> object:
        match kind:
            case "object":
                return self._object(fields, place)
            case "array":
                return self._array(fields, place)
            case "string":
                return self._string(fields, place)
            case "boolean":
                return place.ordinal % 2 == 0
            case "null":
                return None
        number = write_number(fields, whole=kind == "integer", offered=self._offered.number(), ordinal=place.ordinal)
        if number is None:
            raise NoValue("no number is within the bounds")
        return number

    def _string(self, fields: Schema, place: _Place) -> str:
        self._spend(count_of(fields, "minLength", 0) // _BYTES_A_UNIT)
        self._spend(len(fields["pattern"]) if isinstance(fields.get("pattern"), str) else 0)
        text = write_string(fields, place.name, self._offered, place.ordinal)
        if text is None:
            raise NoValue("no string has the lengths asked for")
        self._spend(len(text) // _BYTES_A_UNIT)
        return text

    def _object(self, fields: Schema, place: _Place) -> dict[str, object]:
        properties = fields.get("properties", {})
        required = dict.fromkeys(fields.get("required", ()))
        others = fields.get("additionalProperties", True)
        written: dict[str, object] = {}
        for name in {**properties, **required}:
            try:
                self._spend(len(name) // _BYTES_A_UNIT)
                written[name] = self._member(properties.get(name, others), place, name)
            except NoValue:
                if name in required:
                    raise
        while len(written) < count_of(fields, "minProperties", 0):
            name = f"property_{len(written) + 1}"
            written[name] = self._member(others, place, name)
        return written

    def _array(self, fields: Schema, place: _Place) -> list[Any]:
        first = list_of(fields, "prefixItems")
        others = fields.get("items", True)
        fewest = count_of(fields, "minItems", 0)
        wanted = min(max(fewest, len(first), 1), count_of(fields, "maxItems", _WORK))
        if wanted < fewest:
            raise NoValue("an array's bounds contradict each other")
        written: list[object] = []
        ordinal = place.ordinal
        while len(written) < wanted:
            schema = first[len(written)] if len(written) < len(first) else others
            try:
                item = self.write(schema, replace(place, ordinal=ordinal, depth=place.depth + 1))
            except NoValue:
                if len(written) >= fewest:
                    break
                raise
            ordinal += 1
            if fields.get("uniqueItems") is not True or self._is_new(item, written):
                written.append(item)
        return written

    def _is_new(self, item: object, written: list[object]) -> bool:
        self._spend(len(written) // _BYTES_A_UNIT)
        return item not in written

    def _member(self, schema: object, place: _Place, name: str) -> object:
        return self.write(schema, replace(place, name=name, depth=place.depth + 1))

    def _one_of(self, fields: Schema, place: _Place) -> object:
        values = fields["enum"]
        if not values:
            raise NoValue("an enum is empty")
        if place.ordinal == 0:
            for value in islice(values, _ENUM_READ):
                if self._offered.mentions(value):
                    return value
            default = fields.get("default")
            if default is not None and default in values:
                return default
        return values[place.ordinal % len(values)]

    def _first_of(self, fields: Schema, combination: str, place: _Place) -> object:
        """Of the first branch that has a value; the value null is taken last."""
        base = {name: value for name, value in fields.items() if name != combination}
        inside = replace(place, depth=place.depth + 1)
        for branch in sorted(fields[combination], key=_is_null):
            try:
                return self.write({"allOf": [base, branch]}, inside)
            except NoValue:
                continue
        raise NoValue("no alternative has a value")

    def _as_it_is(self, value: object) -> object:
        self._spend(len(orjson.dumps(value)) // _BYTES_A_UNIT)
        return value

    def _spend(self, work: int) -> None:
        self._left -= work
        if self._left < 0:
            raise NoValue("it asks for more than the demo model writes")


def _is_null(schema: object) -> bool:
    return isinstance(schema, dict) and schema.get("type") == "null"
