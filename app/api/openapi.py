"""OpenAPI for bodies that are read from bytes, which FastAPI does not see."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel
from pydantic.json_schema import GenerateJsonSchema, JsonSchemaValue, NoDefault, models_json_schema
from pydantic_core import core_schema

from app.api.job_schemas import REQUESTS
from app.api.openapi_access import add_access
from app.api.openapi_examples import add_examples
from app.api.problems import Problem
from app.api.schemas import BatchRequest, PredictRequest, SearchOptions, SearchRequest
from app.api.write_schemas import DeleteRequest, DescribeRequest, UpsertRequest

_MODELS: tuple[type[BaseModel], ...] = (
    SearchRequest,
    SearchOptions,
    BatchRequest,
    PredictRequest,
    *REQUESTS.values(),
    UpsertRequest,
    DeleteRequest,
    DescribeRequest,
    Problem,
)


class _WithoutNull(GenerateJsonSchema):
    """In a request a field that is not wanted is left out: null is refused, so it is not described either."""

    def nullable_schema(self, schema: core_schema.NullableSchema) -> JsonSchemaValue:
        return self.generate_inner(schema["schema"])

    def get_default_value(self, schema: core_schema.WithDefaultSchema) -> Any:
        default = super().get_default_value(schema)
        return NoDefault if default is None else default


class DocumentedFastAPI(FastAPI):
    """FastAPI whose OpenAPI also has the models that `openapi_extra` refers to, and examples of bodies."""

    def openapi(self) -> dict[str, Any]:
        """The description, made at the first call."""
        if self.openapi_schema is None:
            schema = super().openapi()
            _, described = models_json_schema(
                [(model, "validation") for model in _MODELS],
                ref_template="#/components/schemas/{model}",
                schema_generator=_WithoutNull,
            )
            schema.setdefault("components", {}).setdefault("schemas", {}).update(described["$defs"])
            add_access(schema)
            add_examples(schema)
            self.openapi_schema = schema
        return self.openapi_schema
