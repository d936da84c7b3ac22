"""Data preparation: chat conversations in, packed and masked token shards out."""
