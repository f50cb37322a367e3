"""FAISS without its type stubs, which lack calls that its Python layer has (selectors by keyword, callback
writers).
"""

from __future__ import annotations

from typing import Any

import faiss as _faiss

faiss: Any = _faiss
