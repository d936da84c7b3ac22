"""Find, check and register packed Parquet that was made elsewhere, in place."""
