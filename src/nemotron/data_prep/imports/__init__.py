"""Packed Parquet made elsewhere: found, checked and registered where it is."""
