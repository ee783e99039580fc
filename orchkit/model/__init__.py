"""The ground: policies, steps, graphs, events, the fold, the codec, and the protocols between rooms.

Pure values and functions. No I/O, no tasks, no randomness.
"""
