"""Define what is optimised: the two-stage loss, the step, multi-token prediction."""
