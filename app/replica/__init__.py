"""Servers without a catalogue, which get their snapshots from a store."""
