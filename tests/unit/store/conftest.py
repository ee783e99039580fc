import pytest

# Before anything imports it: its assertions are to explain themselves as those of a test module do.
pytest.register_assert_rewrite("conformance")
