"""From a source of pictures and tags to the catalogue, its features and its thumbnails."""
