"""Files: only regular ones are read, all are written whole, and a folder has one writer."""
