"""Sound files, data sets and their splits, waves, front ends, augmentation, and the logits that teachers hand to students."""
