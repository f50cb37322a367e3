"""What the calls answer that change the catalogue. These classes describe; see :mod:`app.api.answers`."""

from __future__ import annotations

from typing import Literal

from pydantic import BaseModel, ConfigDict, Field

from app.api.problems import Problem


class UpsertedImage(BaseModel):
    """What became of one image of an upsert."""

    id: str = Field(examples=["beach/0042.jpg"])
    status: Literal["created", "replaced", "failed"] = Field(
        description="created: the id is new. replaced: what was there is gone. failed: nothing was changed."
    )
    problem: Problem | None = Field(None, description="Only of a failed one: why.")


class UpsertAnswer(BaseModel):
    """What became of each image, in the order of the request; the counts add up to it."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {
                    "results": [
                        {"id": "beach/0042.jpg", "status": "created"},
                        {
                            "id": "beach/0043.jpg",
                            "status": "failed",
                            "problem": {
                                "type": "urn:imsage:problem:bad-input",
                                "title": "Bad input",
                                "status": 422,
                                "detail": "the file is empty (zero bytes)",
                                "instance": "/v1/images",
                                "errors": [
                                    {"pointer": "/images/1/image", "detail": "the file is empty (zero bytes)"}
                                ],
                            },
                        },
                    ],
                    "created": 1,
                    "replaced": 0,
                    "failed": 1,
                    "index_version": "000003-1f0c9a2b",
                    "took_ms": {"read": 16.5, "store": 6.2, "attach": 1.3, "total": 24.0},
                }
            ]
        }
    )

    results: list[UpsertedImage]
    created: int = Field(examples=[1])
    replaced: int = Field(examples=[0])
    failed: int = Field(examples=[0])
    index_version: str = Field(description="The snapshot beside which they are found from now on.")
    took_ms: dict[str, float] = Field(
        description="Milliseconds by stage: read (decoded and encoded), store, attach, total.",
        examples=[{"read": 16.5, "store": 6.2, "attach": 1.3, "total": 24.6}],
    )


class DeletedImage(BaseModel):
    """What became of one image of a delete."""

    model_config = ConfigDict(json_schema_extra={"examples": [{"id": "beach/0042.jpg", "status": "deleted"}]})

    id: str = Field(examples=["beach/0042.jpg"])
    status: Literal["deleted", "missing"] = Field(description="missing: there was no such image.")


class DeleteAnswer(BaseModel):
    """What became of each image, in the order of the request."""

    model_config = ConfigDict(
        json_schema_extra={
            "examples": [
                {"results": [{"id": "beach/0042.jpg", "status": "deleted"}], "deleted": 1, "missing": 0}
            ]
        }
    )

    results: list[DeletedImage]
    deleted: int = Field(examples=[1])
    missing: int = Field(examples=[0])
