"""Stores: where logs are kept. A store knows rows and promises, not what an event means."""
