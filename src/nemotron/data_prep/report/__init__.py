"""Render report.html of data prep."""
