"""Features that the user brings: one `.npy` of vectors and a list of the ids they belong to."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np
import orjson

from gnn.encoders.base import EncoderSpec
from graph_store.arrays import AnyArray, Float32Array
from graph_store.errors import BadInput

NAME = "precomputed"


@dataclass(frozen=True)
class Precomputed:
    """Vectors by id. `vectors`: [n, dim], memory-mapped, of any floating type, not yet checked. `ids`: the
    list that `rows` is from.
    """

    path: Path
    ids: Path
    spec: EncoderSpec
    vectors: AnyArray
    rows: dict[str, int]

    @classmethod
    def load(cls, path: Path, *, ids: Path | None = None, name: str = NAME) -> Precomputed:
        """Open `path` (.npy, [n, dim] floating) and its ids: one a line in .txt, or a list in .json.

        Without `ids` these are tried beside it: NAME.ids.txt, NAME.ids.json, ids.txt, ids.json. `name` is
        `precomputed` or `precomputed:LABEL`; the label tells features of one model from those of another.
        Raises BadInput, which names the file, when the two do not fit together.
        """
        try:
            vectors = np.load(path, mmap_mode="r", allow_pickle=False)
        except (OSError, ValueError, EOFError) as error:
            raise BadInput(f"The features {path} cannot be read as .npy: {error}") from error
        if not isinstance(vectors, np.ndarray) or vectors.ndim != 2 or vectors.dtype.kind != "f":
            shape = f"{vectors.dtype} {vectors.shape}" if isinstance(vectors, np.ndarray) else "an archive"
            raise BadInput(
                f"The features {path} are {shape}, not one floating-point array [images, dimension]"
            )
        if vectors.shape[1] == 0:
            raise BadInput(f"The features {path} have dimension 0")
        ids_path = ids or _ids_beside(path)
        known = _read_ids(ids_path)
        if len(known) != len(vectors):
            raise BadInput(f"{ids_path} lists {len(known)} ids, but {path} has {len(vectors)} rows")
        rows = {image_id: row for row, image_id in enumerate(known)}
        if len(rows) != len(known):
            twice = next(image_id for row, image_id in enumerate(known) if rows[image_id] != row)
            raise BadInput(f"{ids_path} lists the id {twice!r} more than once")
        spec = EncoderSpec(name=name, weights_sha256="", dim=int(vectors.shape[1]), preprocessing="")
        return cls(path, ids_path, spec, vectors, rows)

    def vector(self, image_id: str) -> Float32Array:
        """The vector of one image, [dim] float32, unit norm. Raises BadInput, saying why there is none."""
        row = self.rows.get(image_id)
        if row is None:
            raise BadInput(
                f"there are no features for the id {image_id!r} in {self.path.name}, "
                f"whose rows {self.ids.name} names"
            )
        vector = np.asarray(self.vectors[row], dtype=np.float64)
        if not np.isfinite(vector).all():
            raise BadInput(f"row {row} of {self.path.name} holds a NaN or infinite feature")
        norm = float(np.linalg.norm(vector))
        if norm == 0.0:
            raise BadInput(f"row {row} of {self.path.name} is all zeros and points nowhere")
        return np.asarray(vector / norm, dtype=np.float32)


def _ids_beside(path: Path) -> Path:
    candidates = [
        path.with_name(f"{path.stem}.ids.txt"),
        path.with_name(f"{path.stem}.ids.json"),
        path.with_name("ids.txt"),
        path.with_name("ids.json"),
    ]
    for candidate in candidates:
        if candidate.is_file():
            return candidate
    names = ", ".join(candidate.name for candidate in candidates)
    raise BadInput(f"No ids were found beside the features {path}", hint=f"Looked for {names}.")


def _read_ids(path: Path) -> list[str]:
    try:
        data = path.read_bytes()
        if path.suffix == ".json":
            ids = orjson.loads(data)
        else:
            text = data.decode("utf-8-sig")
            ids = text.replace("\r\n", "\n").removesuffix("\n").split("\n") if text else []
    except (OSError, ValueError) as error:
        raise BadInput(f"The ids {path} cannot be read: {error}") from error
    if not isinstance(ids, list) or not all(isinstance(image_id, str | int) for image_id in ids):
        raise BadInput(f"The ids {path} are not a list of strings")
    return [str(image_id) for image_id in ids]
