"""What is optimised: the two-stage loss, the forward step, multi-token prediction."""
