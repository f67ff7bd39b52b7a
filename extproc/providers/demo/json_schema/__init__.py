"""JSON values that a JSON Schema allows (https://json-schema.org/draft/2020-12), filled from what a user wrote."""

from extproc.providers.demo.json_schema.reading import NoValue
from extproc.providers.demo.json_schema.value import write_value

__all__ = ["NoValue", "write_value"]
