"""One training in several processes: each embeds its part of every batch, and all see the whole loss.

The nodes of a batch are cut into as many parts as there are processes. Each process samples and embeds its
own; the embeddings are gathered, so the loss, comparisons inside the batch included, is that of the whole
batch in every process. Going back, each process keeps the gradient of its own rows, and the gradients of the
parameters are added up. The parts draw from generators of their own, so one process that computes all parts
itself (`Team(parts=2)`) takes the same steps as two processes with one each.

Processes are started by torchrun, which says in the environment who is who; they talk through gloo, or NCCL
where each has a GPU, and share the data directory.
"""

from __future__ import annotations

import atexit
import hashlib
import os
import shutil
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor, distributed, nn

from graph_store.arrays import Int64Array
from graph_store.errors import BadInput
from graph_store.graph import Graph

_PATIENCE = timedelta(hours=6)
"""How long a process waits for the others: the first one builds the graph alone."""

Embed = Callable[[Int64Array, Int64Array, np.random.Generator], tuple[Tensor, Tensor]]
"""Image ids [n], tag ids [t] → their embeddings [n, d], [t, d], from sampled neighbourhoods."""


def leads() -> bool:
    """Whether this process is the first of those that torchrun started, or one by itself."""
    return int(os.environ.get("RANK", "0")) == 0


def team_of_environment(device: str) -> Team:
    """The team that torchrun started, connected until this process ends; one by itself where it did not.

    Raises BadInput where more processes than GPUs would train on the GPUs of this machine.
    """
    size = int(os.environ.get("WORLD_SIZE", "1"))
    if size == 1:
        return Team()
    if not distributed.is_initialized():
        on_gpu = device != "cpu" and torch.cuda.is_available()
        if on_gpu:
            _refuse_to_share_gpus(torch.cuda.device_count())
            torch.cuda.set_device(int(os.environ.get("LOCAL_RANK", "0")))
        distributed.init_process_group("nccl" if on_gpu else "gloo", timeout=_PATIENCE)
        atexit.register(distributed.destroy_process_group)
    return Team(size, distributed.get_rank())


def _refuse_to_share_gpus(gpus: int) -> None:
    """NCCL does not let two processes have one GPU, and ends each of them with a traceback."""
    here = int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    if here > gpus:
        raise BadInput(
            f"torchrun started {here} processes on a machine with {gpus} GPU{'s' if gpus > 1 else ''}, "
            "and each needs one of its own",
            hint=f"Train with --device cpu, or with --nproc-per-node {gpus} at most.",
        )


@dataclass(frozen=True)
class Team:
    """``parts`` that a batch is cut into; ``rank``: the one that this process computes, None where it
    computes all of them.
    """

    parts: int = 1
    rank: int | None = None

    @property
    def leads(self) -> bool:
        """Whether this process writes the files."""
        return not self.rank

    def embedded(
        self, images: Int64Array, tags: Int64Array, rng: np.random.Generator, embed: Embed
    ) -> tuple[Tensor, Tensor]:
        """The embeddings of a batch's images and tags, part by part."""
        if self.parts == 1:
            return embed(images, tags, rng)
        base = int(rng.integers(2**62))
        image_parts, tag_parts = np.array_split(images, self.parts), np.array_split(tags, self.parts)
        found = []
        for part in range(self.parts) if self.rank is None else [self.rank]:
            torch.manual_seed(base + part)  # dropout
            found.append(embed(image_parts[part], tag_parts[part], np.random.default_rng([base, part])))
        return (
            self._gathered([each[0] for each in found], image_parts),
            self._gathered([each[1] for each in found], tag_parts),
        )

    def _gathered(self, found: Sequence[Tensor], parts: Sequence[Int64Array]) -> Tensor:
        if self.rank is None:
            return torch.cat(list(found))
        gathered: Tensor = _Gathered.apply(found[0], [len(part) for part in parts], self.rank)
        return gathered

    def add_up(self, parameters: Sequence[nn.Parameter]) -> None:
        """Replace each gradient by the sum over all processes."""
        if self.rank is None:
            return
        given = [float(parameter.grad is not None) for parameter in parameters]
        flat = [
            (torch.zeros_like(each) if each.grad is None else each.grad).reshape(-1) for each in parameters
        ]
        total = torch.cat([*flat, flat[0].new_tensor(given)])
        distributed.all_reduce(total)
        *sums, known = torch.split(total, [*(len(each) for each in flat), len(given)])
        for parameter, gradient, count in zip(parameters, sums, known.tolist(), strict=True):
            parameter.grad = gradient.view_as(parameter) if count else None

    def agreed(self, metrics: Mapping[str, float]) -> dict[str, float]:
        """The first process's metrics, so that all stop together."""
        if self.rank is None:
            return dict(metrics)
        device = torch.device("cuda") if distributed.get_backend() == "nccl" else torch.device("cpu")
        values = torch.tensor(list(metrics.values()), dtype=torch.float64, device=device)
        distributed.broadcast(values, 0)
        return dict(zip(metrics, values.tolist(), strict=True))

    def same(self, text: str) -> bool:
        """Whether all processes say the same; all of them get the same answer."""
        if self.rank is None:
            return True
        device = torch.device("cuda") if distributed.get_backend() == "nccl" else torch.device("cpu")
        digest = list(hashlib.sha256(text.encode()).digest())
        lowest = torch.tensor(digest, dtype=torch.int32, device=device)
        highest = lowest.clone()
        distributed.all_reduce(lowest, distributed.ReduceOp.MIN)
        distributed.all_reduce(highest, distributed.ReduceOp.MAX)
        return bool(torch.equal(lowest, highest))

    def wait(self) -> None:
        """Until all processes are here."""
        if self.rank is not None:
            distributed.barrier()

    def graph(self, folder: Path, build: Callable[[], Graph]) -> Graph:
        """The same graph for all: the first process builds it and leaves it in the shared `folder` for a
        moment.
        """
        if self.rank is None:
            return build()
        graph = None
        if self.leads:
            graph = build()
            graph.save(folder)
        self.wait()
        graph = graph or Graph.load(folder, mmap=False)
        self.wait()
        if self.leads:
            shutil.rmtree(folder)
        return graph

    def identity(self) -> dict[str, Any]:
        """What a resumed training must share with the interrupted one: the parts draw differently."""
        return {"parts": self.parts} if self.parts > 1 else {}


class _Gathered(torch.autograd.Function):
    """This process's rows → those of all, in order of rank. Every process computes the same loss of them, so
    the gradient of its own rows is at hand.
    """

    @staticmethod
    def forward(ctx: Any, mine: Tensor, sizes: list[int], rank: int) -> Tensor:
        """mine: [sizes[rank], d] → [sum(sizes), d]."""
        ctx.span = sum(sizes[:rank]), sum(sizes[: rank + 1])
        padded = mine.new_zeros(max(sizes), mine.shape[1])
        padded[: len(mine)] = mine
        found = [torch.empty_like(padded) for _ in sizes]
        distributed.all_gather(found, padded)
        return torch.cat([rows[:size] for rows, size in zip(found, sizes, strict=True)])

    @staticmethod
    def backward(ctx: Any, *gradients: Tensor) -> tuple[Tensor, None, None]:
        """The gradient of this process's rows."""
        start, stop = ctx.span
        return gradients[0][start:stop].contiguous(), None, None
