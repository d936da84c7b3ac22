"""Inspect data: rows before packing, and the contents of packs."""
