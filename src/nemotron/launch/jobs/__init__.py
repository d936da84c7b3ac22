"""Follow submitted jobs, and remember them."""
