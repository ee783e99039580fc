"""The engine: what may start, how one attempt goes, what each policy does, and the execution that ties them.

Written once on the kernel; asyncio is one of its hosts and unknown here.
"""
