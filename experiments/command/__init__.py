"""The command line between Hydra and the stages: schema, help, completion, old spellings."""
