"""Scripts for Nemotron 3 Super."""
