"""Describe the fields of metrics.jsonl, validation.jsonl and test.jsonl.

metrics.py writes these files, and docs/reference/metrics.md lists the fields. `D` is a depth of multi-token prediction,
from 1.
"""

_LOSSES = {
    "token_loss": "The average over all supervised tokens.",
    "sample_loss": "The average over samples of each sample's average.",
    "mtp_D_loss": "The loss of this depth of multi-token prediction: the mean of each micro-batch over its supervised "
    "targets, weighted by its supervised tokens.",
    "mtp_D_acceptance": "Share of supervised targets that are the depth's most likely token. Not with the 0.4 line.",
}

ITERATION = {
    "iteration": "The iteration, from 1.",
    "consumed_samples": "Packs so far, including this iteration.",
    "loss_stage": "The average that is minimized: `token` or `sample`.",
    "sample_unit": "What `sample_loss` counts: `sequence` or `conversation`.",
    "lm_loss": "The loss that is minimized: equal to one of the next two.",
    **_LOSSES,
    "lr": "The learning rate of this iteration.",
    "grad_norm": "Norm of the gradient before clipping.",
    "supervised_tokens": "N, the supervised tokens of the global batch.",
    "conversations": "|B|, the samples of the global batch; or W, a fraction, if `sample_unit` is `conversation`.",
    "skipped_batches": "Global batches so far without a supervised token.",
    "seconds": "Duration of this iteration.",
    "peak_memory_gb": "Peak memory so far that torch allocated on the last rank's GPU, in 10^9 bytes. Not on a CPU.",
}
"""Fields of metrics.jsonl."""

EVALUATION = {
    "iteration": "Finished iterations when the split was evaluated.",
    "packs": "Packs evaluated.",
    **_LOSSES,
}
"""Fields of validation.jsonl and test.jsonl, over these packs."""
