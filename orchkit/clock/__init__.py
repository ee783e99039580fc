"""Time and chance: the kernel, its hosts and their turns, the dice, and what a record says of its origin.

The only room that touches asyncio, wall time, threads of the engine or raw randomness. Everyone else asks the
run, so that a run can be live or simulated.
"""
