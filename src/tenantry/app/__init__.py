"""Assembly: which rooms there are, the configuration, and a node that has them all open."""
