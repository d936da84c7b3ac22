"""Pack sequences, and write the packs as Parquet shards."""
