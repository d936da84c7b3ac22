"""Files: only regular ones are read, all are written whole, one writer a folder."""
