"""Where an ingestion reads and encodes pictures: in this process, or on a Ray cluster."""
