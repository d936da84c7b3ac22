"""Completions of a served model for prompts of a blend: rows that data prep reads.

prompts   rows of the blend, up to the last user turn; sampled by seed
collect   every prompt through an OpenAI-compatible endpoint, each reply in a journal before the next
output    the usable replies as rows, the others counted by outcome; recorded as an artifact
"""
