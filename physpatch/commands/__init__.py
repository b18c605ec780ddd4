"""Commands that train, compare and evaluate patches."""
