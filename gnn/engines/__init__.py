"""Where a reindex computes: in this process, or on a Ray cluster."""
