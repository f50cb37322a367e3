"""all-MiniLM-L6-v2 in PyTorch: the source of the ONNX graph, and the path for CUDA."""

from __future__ import annotations

from pathlib import Path

import torch
from safetensors.torch import load_file
from torch import nn
from transformers import BertConfig, BertModel


class SentenceFeatures(nn.Module):
    """Token numbers and mask, int64 [n, length] → float32 [n, 384], unit norm.

    The mean of the last layer over the tokens that are there, scaled to length 1 (Reimers and Gurevych 2019).
    """

    def __init__(self, bert: nn.Module) -> None:
        super().__init__()
        self.bert = bert

    def forward(self, tokens: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        """See the class."""
        states = self.bert(input_ids=tokens, attention_mask=mask).last_hidden_state
        present = mask.unsqueeze(-1).to(states.dtype)
        mean = (states * present).sum(dim=1) / present.sum(dim=1).clamp(min=1e-9)
        return nn.functional.normalize(mean, dim=1)


def load_minilm(model_dir: Path) -> SentenceFeatures:
    """The network with the packaged weights, in eval mode; nothing is asked of any hub."""
    config = BertConfig.from_json_file(str(model_dir / "config.json"))
    config._attn_implementation = "eager"
    bert = BertModel(config, add_pooling_layer=False)
    weights = load_file(model_dir / "model.safetensors")
    kept = {name: value for name, value in weights.items() if not name.startswith("pooler.")}
    # Older releases of the library stored the position numbers among the weights.
    kept.pop("embeddings.position_ids", None)
    bert.load_state_dict(kept)
    return SentenceFeatures(bert).eval()
