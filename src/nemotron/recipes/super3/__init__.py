"""Nemotron 3 Super."""
