"""What several test folders share. Imported as `support` (see pythonpath in pyproject.toml)."""
