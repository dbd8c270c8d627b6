"""Studies: what is better than what, over folds and seeds, with the answers to each clip in a table that is kept."""
