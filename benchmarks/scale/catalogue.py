"""The catalogue that scale is measured on: clustered features, and tags whose frequencies fall like 1/rank.

An image lies around the centre of its cluster, in a few directions that its family of clusters shares (real
features vary in some ten to thirty directions around a point, not in all), with a little noise in all. Of
its tags most are among the favourites of its cluster, which are drawn like the others from all tags.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from app.ingest.store import ENCODER_KEY
from gnn.encoders.registry import DEFAULT_IMAGE_ENCODER, image_encoder
from graph_store.arrays import Float32Array, Int64Array
from graph_store.catalog import Catalog
from graph_store.data_dir import DataDir
from graph_store.features import FeatureFile
from graph_store.records import ImageRecord, Tag

CLUSTERS, FAMILIES, DIRECTIONS = 1000, 32, 12
TAGS, TAGS_AN_IMAGE, FAVOURITES, FROM_FAVOURITES = 10_000, 5, 12, 4
_SPREAD, _NOISE = 0.8, 0.3
_CHUNK = 20_000


@dataclass(frozen=True, eq=False)
class World:
    """What pictures are drawn from. centres: [clusters, dim]; directions: [families, directions, dim];
    favourites: [clusters, 12] numbers of tags; chances: [tags].
    """

    centres: Float32Array
    directions: Float32Array
    favourites: Int64Array
    chances: np.ndarray

    @classmethod
    def drawn(cls, dim: int, seed: int = 0) -> World:
        """The same for the same seed, whatever the number of pictures."""
        rng = np.random.default_rng(seed)
        chances = 1 / np.arange(1, TAGS + 1)
        chances /= chances.sum()
        return cls(
            rng.standard_normal((CLUSTERS, dim), dtype=np.float32),
            rng.standard_normal((FAMILIES, DIRECTIONS, dim), dtype=np.float32) / np.float32(DIRECTIONS**0.5),
            rng.choice(TAGS, (CLUSTERS, FAVOURITES), p=chances).astype(np.int64),
            chances,
        )

    def pictures(self, count: int, rng: np.random.Generator) -> tuple[Float32Array, Int64Array]:
        """Features [count, dim], unit norm, and the clusters [count] they were drawn from."""
        cluster = rng.integers(0, len(self.centres), count)
        vectors = _NOISE * rng.standard_normal((count, self.centres.shape[1]), dtype=np.float32)
        vectors += self.centres[cluster]
        where = _SPREAD * rng.standard_normal((count, DIRECTIONS), dtype=np.float32)
        for family, directions in enumerate(self.directions):
            own = np.flatnonzero(cluster % FAMILIES == family)
            vectors[own] += where[own] @ directions
        vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
        return vectors, cluster.astype(np.int64)

    def tags(self, cluster: Int64Array, rng: np.random.Generator) -> Int64Array:
        """[count, 5] numbers of tags; one may come twice and then counts once."""
        places = rng.integers(0, FAVOURITES, (len(cluster), FROM_FAVOURITES))
        liked = np.take_along_axis(self.favourites[cluster], places, axis=1)
        others = rng.choice(TAGS, (len(cluster), TAGS_AN_IMAGE - FROM_FAVOURITES), p=self.chances)
        return np.concatenate([liked, others], axis=1).astype(np.int64)


def generate(data_dir: DataDir, images: int) -> None:
    """A catalogue of `images` pictures, stored and neither trained on nor indexed. The first pictures of a
    larger one are those of a smaller one.
    """
    spec = image_encoder(DEFAULT_IMAGE_ENCODER).spec
    world = World.drawn(spec.dim)
    data_dir.create()
    features = FeatureFile.open(data_dir.features_dir, spec.slug, spec.dim, create=True)
    with Catalog.open(data_dir.catalog_path, create=True) as catalog:
        catalog.set_meta(ENCODER_KEY, spec.to_dict())
        for number, first in enumerate(range(0, images, _CHUNK)):
            add_pictures(catalog, features, world, first, min(_CHUNK, images - first), seed=number + 1)


def add_pictures(
    catalog: Catalog, features: FeatureFile, world: World, first: int, count: int, seed: int
) -> None:
    """Store pictures with the rows first, first + 1, …"""
    rng = np.random.default_rng(seed)
    vectors, cluster = world.pictures(count, rng)
    features.write(first, vectors)
    names = [Tag(f"tag {number}") for number in range(TAGS)]
    tags = world.tags(cluster, rng).tolist()
    years = rng.integers(2000, 2025, count).tolist()
    catalog.upsert(
        [
            ImageRecord(
                f"{first + i:07d}.jpg",
                tags=tuple(names[number] for number in dict.fromkeys(chosen)),
                attributes={"year": years[i]},
                row=first + i,
            )
            for i, chosen in enumerate(tags)
        ]
    )
