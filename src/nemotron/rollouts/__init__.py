"""Collect completions of a served model for the prompts of a blend, as rows.

prompts   take rows of the blend up to the last user turn, sampled by seed
collect   send every prompt to an OpenAI-compatible endpoint, and write each reply to a journal
output    write the usable replies as rows that data prep reads, count the others, and record an artifact
"""
