"""How `bus up` keeps tenantbus's own processes running (ADR-0007)."""
