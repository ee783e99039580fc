"""Gates: what is shared by many attempts, each a small fold and plan of its own.

A gate changes by facts only, which are what the log says; what it says should happen is a query, which changes
nothing. Whoever asks records the decision, and feeds the record back as a fact. So a resume folds the facts and is
where it was, and replay needs nothing else.

``who`` is any hashable identity of an attempt; times are integer microseconds and never go back.
"""
