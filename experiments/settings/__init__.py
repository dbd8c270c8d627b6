"""Every setting there is, with its type, meaning and range; the stages of the command line."""
