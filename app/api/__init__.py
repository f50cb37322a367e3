"""The HTTP service: one FastAPI application over one search service."""
