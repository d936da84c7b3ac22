"""Reasoning modes: off, low effort, a budget.

Chosen for a conversation before it is rendered.
"""
