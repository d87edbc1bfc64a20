"""pathwatch: what the tenants and packages directories say, as events."""
