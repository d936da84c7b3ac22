"""Read files whose rows have columns: Parquet, Arrow, CSV and TSV."""
