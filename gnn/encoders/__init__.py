"""What turns pictures and words into vectors. `registry` picks one by name and imports it only then."""
