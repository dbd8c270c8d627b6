"""Networks applied to clips: logits of a split, a teacher's logits file, a classifier of sound files."""
