"""report.html of training: a run, or several runs compared.

Read from their folders, without Megatron.
"""
