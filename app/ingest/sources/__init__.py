"""One module for each form a source may have."""
