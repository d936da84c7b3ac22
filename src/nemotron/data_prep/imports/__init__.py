"""Packed Parquet that was made elsewhere: found, checked and registered where it is."""
