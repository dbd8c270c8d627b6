"""Training networks: the loop, the optimiser settings, distillation targets, checkpoints."""
