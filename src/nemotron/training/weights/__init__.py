"""Make and convert weights with Megatron: import, export, random, adapters."""
