"""A model's arrays moved together say what they said."""

from __future__ import annotations

import torch
from torch import nn

from gnn.model.huge_pages import onto_huge_pages


class Two(nn.Module):
    """Arrays large and small, one in a part of its own."""

    def __init__(self) -> None:
        super().__init__()
        drawn = torch.Generator().manual_seed(0)
        self.register_buffer("large", torch.randn(300, 120, generator=drawn))
        self.register_buffer("odd", torch.randn(33_001, generator=drawn))
        self.register_buffer("small", torch.randn(3, generator=drawn))
        self.part = nn.Module()
        self.part.register_buffer("numbers", torch.arange(20_000))


def test_every_array_keeps_its_numbers_shape_and_kind() -> None:
    before, after = Two(), Two()
    onto_huge_pages(after)
    for name, buffer in before.named_buffers():
        moved = after.get_buffer(name)
        assert torch.equal(moved, buffer)
        assert moved.dtype == buffer.dtype


def test_large_arrays_lie_side_by_side_and_small_ones_where_they_were() -> None:
    model = Two()
    small = model.get_buffer("small").data_ptr()
    onto_huge_pages(model)
    large, odd, numbers = (model.get_buffer(name) for name in ("large", "odd", "part.numbers"))
    assert large.data_ptr() % (2 * 2**20) == 0
    assert 0 <= odd.data_ptr() - large.data_ptr() - large.nbytes < 64
    assert 0 <= numbers.data_ptr() - odd.data_ptr() - odd.nbytes < 64
    assert model.get_buffer("small").data_ptr() == small


def test_a_model_without_large_arrays_stays_as_it_is() -> None:
    model = nn.BatchNorm1d(3)
    before = {name: buffer.data_ptr() for name, buffer in model.named_buffers()}
    onto_huge_pages(model)
    assert {name: buffer.data_ptr() for name, buffer in model.named_buffers()} == before
