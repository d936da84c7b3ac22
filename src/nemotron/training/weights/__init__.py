"""Weights made and converted with Megatron: import, export, random, adapters."""
