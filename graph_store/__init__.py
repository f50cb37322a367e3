"""What is known: the catalogue, its edges, memory-mapped features, snapshots and vector indexes."""
