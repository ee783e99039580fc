"""Runs: wires the rooms below into a live run, a simulated one, a fork, and one that goes on from its log."""
