"""Simulation: how nodes and people behave in virtual time. Live code is untouched by it."""
