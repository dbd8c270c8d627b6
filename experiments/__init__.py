"""The command line and its stages: training, evaluation, reports, submission. Only here are Hydra, W&B and Fabric."""
