"""Find input files, cut them into parts, and read their rows.

JSONL (`.jsonl`, `.ndjson`, `.json`), JSON arrays (`.json`), CSV and TSV, also compressed (`.gz`, `.zst`); Parquet and
Arrow; on this machine (local.py), on object stores (object_store.py) and on the Hugging Face hub (hub.py).
"""

from nemotron.data_prep.sources.find import find_files
from nemotron.data_prep.sources.input_file import InputFile, Part, Row
from nemotron.data_prep.sources.rows import cut, read_rows

__all__ = ["InputFile", "Part", "Row", "cut", "find_files", "read_rows"]
