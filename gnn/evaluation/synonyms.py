"""Everyday words for common tags, used to ask for tags in words that nobody tagged with."""

from __future__ import annotations

from collections.abc import Iterable
from types import MappingProxyType

# Canonical names are those of common photo and emoji vocabularies; each list holds other words for the same
# thing, or a narrower word that every speaker would file under it. None of them is a spelling variant.
SYNONYMS = MappingProxyType(
    {
        "airplane": ("aeroplane", "jet", "aircraft", "airliner"),
        "animal": ("creature", "wildlife", "beast", "livestock"),
        "apple": ("granny smith", "fuji apple"),
        "baby": ("infant", "newborn"),
        "backpack": ("rucksack", "knapsack"),
        "ball": ("soccer ball", "football"),
        "banana": ("plantain",),
        "baseball bat": ("slugger's bat",),
        "beach": ("seaside", "seashore", "coast"),
        "bear": ("grizzly",),
        "bed": ("mattress", "bunk"),
        "bench": ("park seat",),
        "bicycle": ("bike", "pushbike", "cycle"),
        "bike": ("bicycle", "pushbike"),
        "bird": ("sparrow", "seagull", "pigeon"),
        "boat": ("ship", "canoe", "sailboat", "yacht"),
        "book": ("novel", "paperback", "textbook"),
        "bottle": ("flask",),
        "bowl": ("soup dish", "basin"),
        "boy": ("lad", "young man"),
        "broccoli": ("green florets",),
        "bus": ("coach", "double-decker"),
        "cake": ("gateau", "birthday dessert", "cupcake"),
        "car": ("automobile", "sedan", "motorcar"),
        "carrot": ("orange root vegetable",),
        "cat": ("kitten", "kitty", "tabby"),
        "cell phone": ("smartphone", "mobile phone", "handset"),
        "chair": ("armchair", "stool"),
        "child": ("kid", "toddler", "youngster"),
        "clock": ("timepiece", "clock tower"),
        "couch": ("sofa", "settee", "loveseat"),
        "cow": ("cattle", "bull", "calf"),
        "cup": ("mug", "teacup"),
        "dining table": ("dinner table", "kitchen table"),
        "dog": ("puppy", "hound", "canine"),
        "donut": ("doughnut", "pastry ring"),
        "elephant": ("pachyderm",),
        "fire hydrant": ("hydrant", "fireplug"),
        "fish": ("trout", "salmon"),
        "flower": ("blossom", "tulip", "bouquet"),
        "food": ("meal", "dish", "cuisine"),
        "fork": ("cutlery",),
        "frisbee": ("flying disc",),
        "fruit": ("berries", "citrus"),
        "girl": ("lass", "young woman"),
        "glass": ("tumbler",),
        "grass": ("lawn", "meadow"),
        "guitar": ("ukulele", "acoustic guitar"),
        "hair drier": ("hair dryer", "blow dryer"),
        "handbag": ("purse", "tote bag"),
        "hat": ("cap", "sombrero"),
        "heart": ("love symbol",),
        "horse": ("pony", "stallion", "mare"),
        "hot dog": ("frankfurter", "sausage in a bun"),
        "house": ("home", "cottage"),
        "keyboard": ("computer keys",),
        "kite": ("paper kite",),
        "knife": ("blade", "dagger"),
        "laptop": ("notebook computer", "portable computer"),
        "man": ("gentleman", "guy"),
        "microwave": ("microwave oven",),
        "motorcycle": ("motorbike", "moped", "scooter"),
        "mountain": ("peak", "summit"),
        "mouse": ("computer mouse",),
        "music": ("melody", "song"),
        "orange": ("tangerine", "mandarin", "clementine"),
        "oven": ("stove", "cooker"),
        "parking meter": ("coin meter",),
        "people": ("crowd", "folks"),
        "person": ("human", "pedestrian", "someone"),
        "pizza": ("margherita", "pepperoni pie"),
        "plant": ("shrub", "greenery"),
        "potted plant": ("houseplant", "flowerpot"),
        "rain": ("drizzle", "downpour"),
        "refrigerator": ("fridge", "icebox"),
        "remote": ("remote control", "tv controller"),
        "road": ("street", "highway"),
        "sandwich": ("burger", "hoagie", "panini"),
        "scissors": ("shears",),
        "sheep": ("lamb", "ewe"),
        "ship": ("vessel", "ocean liner"),
        "shirt": ("blouse", "t-shirt"),
        "shoe": ("sneaker", "boot"),
        "sink": ("washbasin", "kitchen basin"),
        "skateboard": ("longboard",),
        "skis": ("skiing equipment",),
        "snow": ("snowfall", "powder snow"),
        "snowboard": ("snowboarding",),
        "spoon": ("ladle", "teaspoon"),
        "sports ball": ("soccer ball", "tennis ball", "basketball"),
        "star": ("asterisk",),
        "stop sign": ("red octagonal sign",),
        "suitcase": ("luggage", "baggage"),
        "sun": ("sunshine",),
        "surfboard": ("surfing board",),
        "table": ("desk",),
        "teddy bear": ("stuffed toy", "plush bear"),
        "tennis racket": ("tennis racquet",),
        "tie": ("necktie", "bow tie"),
        "toaster": ("bread toaster",),
        "toilet": ("lavatory", "loo", "commode"),
        "toothbrush": ("dental brush",),
        "traffic light": ("stoplight", "traffic signal"),
        "train": ("locomotive", "railway", "subway"),
        "tree": ("oak", "pine"),
        "truck": ("lorry", "pickup", "semi-trailer"),
        "tv": ("television", "television set"),
        "umbrella": ("parasol", "brolly"),
        "vase": ("urn", "flower jar"),
        "water": ("lake", "pond", "river"),
        "wine glass": ("goblet", "champagne flute", "stemware"),
        "woman": ("lady", "gal"),
        "zebra": ("striped horse",),
    }
)


def synonym_queries(vocabulary: Iterable[str]) -> list[tuple[str, str]]:
    """(word, tag) pairs whose tag is in the vocabulary and whose word is not, in alphabetical order.

    Names are compared without regard to case; the tag comes back as the vocabulary spells it. A word that
    stands for two tags of this vocabulary is left out, as there is no one right answer to it.
    """
    spelled = {name.casefold(): name for name in vocabulary}
    pairs = [
        (word, spelled[tag])
        for tag, words in SYNONYMS.items()
        if tag in spelled
        for word in words
        if word.casefold() not in spelled
    ]
    meanings: dict[str, set[str]] = {}
    for word, tag in pairs:
        meanings.setdefault(word, set()).add(tag)
    return sorted((word, tag) for word, tag in pairs if len(meanings[word]) == 1)
