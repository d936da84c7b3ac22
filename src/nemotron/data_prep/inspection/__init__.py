"""Looking at data: what becomes of each row before packing, and what stands in packs after."""
