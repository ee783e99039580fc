"""Runs: wires the rooms below into a live run, a simulated one, and one that goes on from its log."""
