"""The Python client of imsage: ask a server for pictures, with a dial between looks and meaning.

    from imsage import Client

    with Client("http://127.0.0.1:8000") as client:
        answer = client.search(image="beach/0042.jpg", tags=["dog"], visual_weight=0.6)
        for hit in answer.hits:
            print(hit.id, hit.score)

It needs httpx and nothing else: the server's code is never imported here.
"""

from imsage.answers import (
    Answer,
    CountedTag,
    DeltaCounts,
    Edges,
    File,
    Hit,
    HitExplanation,
    Image,
    ImageEdge,
    Index,
    ItemProblem,
    Job,
    JobError,
    JobProgress,
    Jobs,
    Neighbors,
    PredictedTag,
    Prediction,
    Readiness,
    Removed,
    SpokenNeighbor,
    SpokenTag,
    Stored,
    Tag,
    TagEdge,
)
from imsage.async_client import AsyncClient
from imsage.client import Client
from imsage.errors import ImsageError, Wrong
from imsage.questions import Condition, Filter, Picture, Pictures, Question, Range, ServerPath, Url
from imsage.write_calls import NewImage

__all__ = [
    "Answer",
    "AsyncClient",
    "Client",
    "Condition",
    "CountedTag",
    "DeltaCounts",
    "Edges",
    "File",
    "Filter",
    "Hit",
    "HitExplanation",
    "Image",
    "ImageEdge",
    "ImsageError",
    "Index",
    "ItemProblem",
    "Job",
    "JobError",
    "JobProgress",
    "Jobs",
    "Neighbors",
    "NewImage",
    "Picture",
    "Pictures",
    "PredictedTag",
    "Prediction",
    "Question",
    "Range",
    "Readiness",
    "Removed",
    "ServerPath",
    "SpokenNeighbor",
    "SpokenTag",
    "Stored",
    "Tag",
    "TagEdge",
    "Url",
    "Wrong",
]
