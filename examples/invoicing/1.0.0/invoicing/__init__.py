"""A small stock-and-invoice application: the tenants of tenantbus' demo run it."""
