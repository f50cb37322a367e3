"""Running a model on sampled blocks: the same layers as everywhere, with sampled messages."""

from __future__ import annotations

import torch
from torch import Tensor

from gnn.model.aggregate import NodeStates
from gnn.model.base import GraphModel
from gnn.sampling.blocks import MiniBatch
from gnn.tensors import to_tensor
from graph_store.arrays import Int64Array


def batch_states(model: GraphModel, batch: MiniBatch, x: Tensor, tag_text: Tensor) -> NodeStates:
    """States h^0..h^L of the batch's seeds, in the order of the seeds.

    x: features of *all* images [num_images, feature_dim]; tag_text: of *all* tags [num_tags, text_dim]; both
    on the model's device. Input states are made only for the nodes that the batch lists, or for all nodes
    where it lists none (free for images when the model takes them raw).
    """
    images = model.input_images(x if batch.input_images is None else x[_index(batch.input_images, x)])
    tags = _input_tags(model, batch.input_tags, tag_text)
    image_states, tag_states = [images], [tags]
    for layer, level in enumerate(batch.levels, start=1):
        own_images, own_tags = _index(level.own_images, x), _index(level.own_tags, x)
        image_messages = level.similar.messages(images), level.tags_of_image.messages(tags)
        tag_messages = level.images_of_tag.messages(images), level.related.messages(tags)
        # Only the rows that this level keeps go on, so at the end every state is the seeds' own.
        image_states = [state[own_images] for state in image_states]
        tag_states = [state[own_tags] for state in tag_states]
        images = model.image_layer(layer, image_states[-1], *image_messages)
        tags = model.tag_layer(layer, tag_states[-1], *tag_messages)
        image_states.append(images)
        tag_states.append(tags)
    return NodeStates(image_states, tag_states)


def _input_tags(model: GraphModel, listed: Int64Array | None, tag_text: Tensor) -> Tensor:
    if listed is None:
        ids = torch.arange(len(tag_text), device=tag_text.device)
        return model.input_tags(tag_text, ids)
    ids = _index(listed, tag_text)
    return model.input_tags(tag_text[ids], ids)


def _index(ids: Int64Array, like: Tensor) -> Tensor:
    return to_tensor(ids, like.device)
