"""The demo: OpenMoji drawings with keywords, made into a catalogue like any other and built the same way."""
