"""Follow submitted jobs, and keep records of them."""
