"""The hall: the public nouns. Each is thin; what they promise is kept by the rooms below."""
