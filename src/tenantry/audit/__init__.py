"""The log that cannot be edited: trees, checkpoints, exports and their verification."""
