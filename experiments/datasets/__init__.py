"""From the settings of a data set to its clips, packed waves and batches."""
