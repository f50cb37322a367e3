"""Pictures read and encoded on a Ray cluster, by a pool of Ray Data's actors, each with its own encoder.

To an actor goes what the source says of some pictures, and back come their features. It reads the files
itself and writes their thumbnails, so that pictures and data directory lie in storage that all nodes see
under the same path. The catalogue and the features are written by this process alone, as they come in.

An actor works as :class:`LocalIngest` does. An error of ours that it meets is sent back as a value, so that
a full disk or other weights are told as they would be without Ray.
"""

from __future__ import annotations

import importlib
import inspect
import logging
import math
import warnings
from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
from contextlib import ExitStack, closing, contextmanager
from dataclasses import replace
from itertools import islice
from typing import Any

import numpy as np

from app.ingest.engines.engine import LocalIngest, Outcome, Picture, Recipe, Work
from app.ingest.features import AsGiven, Encoded, FeatureMaker, PictureEncoding, feature_maker
from gnn.encoders.base import EncoderSpec, check_same_encoder
from gnn.encoders.registry import image_encoder
from gnn.engines.errors import EngineFailed
from gnn.engines.ray_cluster import last_line, ray_cluster
from graph_store.arrays import AnyArray
from graph_store.data_dir import DataDir
from graph_store.errors import BadInput, ImsageError, UnknownName
from graph_store.exhaustion import exhausted

_WAVE = 262_144
"""Pictures in one pass of Ray Data, which wants to know them all before it starts."""
_PART = 256
_PARTS_OF_AN_ACTOR = 4
_RETRIES = 5
_DEVICES = ("auto", "cpu", "cuda")


class RayIngest:
    """part: pictures at most that an actor takes at once. They are given to another one, up to five times,
    when it dies. wave: pictures in one pass of Ray Data.
    """

    def __init__(self, part: int = _PART, wave: int = _WAVE) -> None:
        self._part, self._wave = part, wave

    def maker(self, recipe: Recipe) -> FeatureMaker:
        """As the protocol has it. This process does not encode, it only has to know what is encoded."""
        if recipe.device not in _DEVICES:
            raise UnknownName(
                f"There is no device {recipe.device!r} on a Ray cluster",
                hint=f"Known: {', '.join(_DEVICES)}; which GPU a worker gets is up to Ray.",
            )
        return feature_maker(recipe.encoder, recipe.features, "cpu")

    def outcomes(
        self, work: Iterable[Work], recipe: Recipe, maker: FeatureMaker
    ) -> Generator[Outcome, None, None]:
        """As the protocol has it. Ray is reached when the first picture has to be read. Raises BadInput where
        `ray` is not installed.
        """
        rest = iter(work)
        with ExitStack() as held:
            ray = None
            while wave := list(islice(rest, self._wave)):
                pictures = [one for one in wave if isinstance(one, Picture)]
                if not pictures:
                    yield from (one for one in wave if not isinstance(one, Picture))
                    continue
                ray = ray or _with_data(held.enter_context(ray_cluster()))
                with closing(self._made(ray, pictures, recipe, maker.spec)) as made:
                    for one in wave:
                        yield next(made) if isinstance(one, Picture) else one

    def _made(
        self, ray: Any, pictures: Sequence[Picture], recipe: Recipe, spec: EncoderSpec
    ) -> Generator[Outcome, None, None]:
        """One outcome for each of the pictures, in their order."""
        done = 0
        try:
            with _quiet(logging.getLogger("ray.data")):
                with warnings.catch_warnings():
                    warnings.simplefilter("ignore", DeprecationWarning)  # see _retries
                    dataset = self._dataset(ray, pictures, recipe, spec)
                for batch in dataset.iter_batches(batch_size=None):
                    for outcome in batch["outcome"]:
                        if isinstance(outcome, ImsageError):
                            raise outcome
                        done += 1
                        yield outcome
        except ray.exceptions.RayError as error:
            first = pictures[min(done, len(pictures) - 1)].item.id
            raise EngineFailed(
                f"Ray could not read and encode the pictures from {first!r} on: {last_line(error)}",
                hint="Look whether all nodes have the same imsage, and see pictures and data directory under "
                "the same paths.",
            ) from error
        if done != len(pictures):
            raise EngineFailed(f"Ray brought {done} of {len(pictures)} pictures back")

    def _dataset(self, ray: Any, pictures: Sequence[Picture], recipe: Recipe, spec: EncoderSpec) -> Any:
        cpus, gpus = (int(ray.cluster_resources().get(name, 0)) for name in ("CPU", "GPU"))
        encodes = recipe.features is None
        on_gpu = encodes and (recipe.device == "cuda" or (recipe.device == "auto" and gpus > 0))
        if on_gpu and gpus == 0:
            raise BadInput(
                "The device 'cuda' was asked for, but no node of the Ray cluster has a GPU now",
                hint="Use auto or cpu, or add such a node first.",
            )
        actors = max(1, gpus if on_gpu else cpus)
        threads = max(1, cpus // actors)
        parts = max(math.ceil(len(pictures) / self._part), min(len(pictures), actors * _PARTS_OF_AN_ACTOR))
        shared = replace(
            recipe,
            data_dir=DataDir(recipe.data_dir.root.absolute()),
            device="cuda" if on_gpu else "cpu",
        )
        rows = [{"picture": picture} for picture in pictures]
        dataset = ray.data.from_items(rows, override_num_blocks=parts)
        dataset.context.execution_options.preserve_order = True
        dataset.context.enable_progress_bars = False
        return dataset.map_batches(
            PictureWorker,
            fn_constructor_args=(shared, spec, threads),
            batch_size=None,  # a batch is a block
            compute=ray.data.ActorPoolStrategy(min_size=min(actors, parts), max_size=parts),
            num_cpus=threads,
            num_gpus=1 if on_gpu else None,
            **_retries(dataset.map_batches),
        )


class PictureWorker:
    """What an actor is: an encoder on `threads` threads, loaded for the first pictures."""

    def __init__(self, recipe: Recipe, spec: EncoderSpec, threads: int) -> None:
        self._recipe, self._spec, self._threads = recipe, spec, threads
        self._engine = LocalIngest(threads)
        self._encoding: PictureEncoding | None = None

    def __call__(self, batch: Mapping[str, AnyArray]) -> dict[str, AnyArray]:
        """`picture`: pictures → `outcome`: the outcome of each, or the error that ended the work. Both are
        objects, which Ray carries.
        """
        told: list[Outcome | ImsageError] = []
        try:
            self._encoding = self._encoding or self._loaded()
            told.extend(self._engine.outcomes(list(batch["picture"]), self._recipe, self._encoding))
        except Exception as error:
            ours = error if isinstance(error, ImsageError) else exhausted(error)
            if ours is None:
                raise
            told.append(ours)
        outcomes = np.empty(len(told), dtype=object)  # an array of them, whatever they look like
        outcomes[:] = told
        return {"outcome": outcomes}

    def _loaded(self) -> PictureEncoding:
        """Raises EncoderMismatch when this node has other weights than the process that stores."""
        if self._recipe.features is not None:
            return AsGiven()
        # Not as the user wrote it: a path in the name may be relative to where the command was started.
        encoder = image_encoder(self._spec.name, device=self._recipe.device, threads=self._threads)
        check_same_encoder(self._spec, encoder.spec)
        return Encoded(encoder)


def _retries(map_batches: Callable[..., object]) -> dict[str, int]:
    """A machine may go as often as it likes; a picture that ends every process which opens it may not.

    Ray has announced that 2.64 takes no such options any more: there it tries again without end, as it does
    when it is told nothing.
    """
    options = inspect.signature(map_batches).parameters.values()
    if not any(option.kind is inspect.Parameter.VAR_KEYWORD for option in options):
        return {}
    return {"max_restarts": -1, "max_task_retries": _RETRIES}


def _with_data(ray: Any) -> Any:
    """Raises BadInput where Ray was installed without what Ray Data needs."""
    try:
        importlib.import_module("ray.data")  # it sets up its log, so it comes before _quiet
    except ImportError as error:
        raise BadInput(
            f"Ray Data cannot be loaded: {last_line(error)}",
            hint='In the checkout of imsage: pip install -e ".[ray]"',
        ) from error
    return ray


@contextmanager
def _quiet(log: logging.Logger) -> Iterator[None]:
    """Without what Ray Data says of its own progress: the command has a bar of its own."""
    level = log.level
    log.setLevel(logging.CRITICAL)
    try:
        yield
    finally:
        log.setLevel(level)
