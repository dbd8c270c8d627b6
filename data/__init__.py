"""Sound files, data sets and splits, waves, front ends, augmentation, and the logits that teachers hand to students."""
