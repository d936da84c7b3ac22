"""Files of records that this package wrote: read as what they were written from."""
