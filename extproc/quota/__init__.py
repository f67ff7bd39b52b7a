"""Counters of limits and budgets: they outlive a request, and the workers of a host, or many hosts, share them."""
