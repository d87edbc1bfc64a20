"""dispatcher: which tenant is stuck, found without waking it, as events."""
