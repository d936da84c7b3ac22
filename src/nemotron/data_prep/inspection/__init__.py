"""Looking at data: rows before packing, and what is in packs after."""
