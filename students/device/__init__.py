"""C99 of a network of integers and its front end, for devices without floating point."""
