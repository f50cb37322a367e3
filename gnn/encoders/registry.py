"""Encoders by name. Nothing heavy is imported before an encoder is asked for."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from gnn.encoders.base import ImageEncoder, TextEncoder
from gnn.encoders.efficientnet import INT8_NAME, NAME, EfficientNetLite0
from gnn.encoders.openclip import PREFIX, OpenClip
from gnn.encoders.precomputed import NAME as PRECOMPUTED
from graph_store.errors import BadInput, EncoderMissing, ImsageError, UnknownName
from graph_store.exhaustion import exhausted

DEFAULT_IMAGE_ENCODER = NAME
DEFAULT_TEXT_ENCODER = "minilm"
_OPEN_CLIP_FORMS = "open_clip:MODEL/PRETRAINED, open_clip:MODEL@PATH"


def image_encoder(
    name: str = DEFAULT_IMAGE_ENCODER, *, device: str = "auto", threads: int | None = None
) -> ImageEncoder:
    """The image encoder of that name. `threads` (None: all cores) bounds its use of the CPU.

    Raises UnknownName, which lists what there is, BadInput for `precomputed`, which encodes nothing, and for
    weights of yours that cannot be loaded, and EncoderMissing where those that belong to imsage cannot be.
    """
    if name in (NAME, INT8_NAME):
        with _loading(name):
            return EfficientNetLite0(device=device, threads=threads, int8=name == INT8_NAME)
    if name.startswith(PREFIX):
        return OpenClip(name, device=device)
    if is_precomputed(name):
        raise BadInput(
            "The features of this catalogue were brought along, so a new picture cannot be encoded",
            hint="Search by image id, by tags or by text.",
        )
    raise UnknownName(
        f"There is no image encoder {name!r}",
        hint=f"Known: {NAME}, {INT8_NAME}, {_OPEN_CLIP_FORMS}, {PRECOMPUTED}[:LABEL].",
    )


def text_encoder(
    name: str = DEFAULT_TEXT_ENCODER, *, device: str = "auto", threads: int | None = None
) -> TextEncoder:
    """The text encoder of that name. Raises as `image_encoder` does."""
    if name == "minilm":
        with _loading(name):
            from gnn.encoders.minilm import MiniLM

            return MiniLM(device=device, threads=threads)
    if name.startswith(PREFIX):
        return OpenClip(name, device=device)
    raise UnknownName(f"There is no text encoder {name!r}", hint=f"Known: minilm, {_OPEN_CLIP_FORMS}.")


@contextmanager
def _loading(name: str) -> Iterator[None]:
    """What a package that is gone or damaged raises, as one error that names the encoder."""
    try:
        yield
    except ImsageError:
        raise
    except Exception as error:  # of the file system, the import system, safetensors, onnxruntime and PyTorch
        lacking = exhausted(error)
        if lacking is not None:
            raise lacking from error
        raise EncoderMissing(
            f"The encoder {name} cannot be loaded: {type(error).__name__}: {error}",
            hint="Install imsage again; what needs no new picture or word goes on.",
        ) from error


def is_precomputed(name: str) -> bool:
    """Whether `name` means features that the user brings (`precomputed` or `precomputed:LABEL`)."""
    return name == PRECOMPUTED or name.startswith(f"{PRECOMPUTED}:")
