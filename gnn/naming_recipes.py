"""How the perceptrons that name tags may be trained; the query views decide which way (docs/decisions/0017).

What is too little regularisation for one catalogue holds another back: 4,000 photos are learnt by heart by
what 4,000 products of a shop are still underfitted with.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from gnn.evaluation.mlp import MlpConfig

HIDDEN = 512
FEWEST_STEPS = 600
FEWEST_EPOCHS = 5
MOST_VISITS = 900_000
"""So often at most is an image looked at: 30 epochs of 30,000 images, nine of 100,000."""


@dataclass(frozen=True)
class NamingRecipe:
    """``network``: of one perceptron, with the usual number of epochs; ``fewest_images``: smaller catalogues
    are spared the attempt; ``most_epochs``: of a catalogue that has few steps an epoch.
    """

    network: MlpConfig
    fewest_images: int
    most_epochs: int

    def at(self, images: int) -> MlpConfig:
        """The same for so many images: more epochs for few, fewer for very many."""
        steps = max(images // self.network.batch, 1)
        wanted = max(self.network.epochs, -(-FEWEST_STEPS // steps))
        affordable = max(MOST_VISITS // max(images, 1), FEWEST_EPOCHS)
        return replace(self.network, epochs=min(wanted, self.most_epochs, affordable))


SHALLOW = NamingRecipe(MlpConfig(hidden=HIDDEN, weight_decay=1.0, epochs=15), fewest_images=0, most_epochs=40)
"""What suits photos: one hidden layer, stopped before it has learnt them by heart."""

LONG = NamingRecipe(
    MlpConfig(hidden=HIDDEN, layers=2, weight_decay=1.0, batch=256, learning_rate=2e-3, epochs=45),
    fewest_images=2_000,
    most_epochs=90,
)
"""As much dropout and decay, a second layer and time for it: what suits tags that hardly show."""

FREE = NamingRecipe(
    replace(LONG.network, dropout=0.3, input_dropout=0.1, weight_decay=0.5, epochs=30),
    fewest_images=6_000,
    most_epochs=30,
)
"""Less of both: of more images there is more to learn than to forget (docs/decisions/0016)."""

RECIPES = (SHALLOW, LONG, FREE)


def recipes_for(images: int) -> list[NamingRecipe]:
    """Those that are worth trying with so many images, from the most held back to the least."""
    return [recipe for recipe in RECIPES if images >= recipe.fewest_images]
