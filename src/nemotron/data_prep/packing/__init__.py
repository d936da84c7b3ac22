"""Sequences into packs, and packs into Parquet shards."""
