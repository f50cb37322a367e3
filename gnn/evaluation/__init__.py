"""How good is the search? The protocol, the simple baselines it is held against, and the report."""

from __future__ import annotations

from gnn.evaluation.evaluate import evaluate
from gnn.evaluation.report import EvaluationReport

__all__ = ["EvaluationReport", "evaluate"]
