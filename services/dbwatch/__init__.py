"""dbwatch: which database works, as events."""
