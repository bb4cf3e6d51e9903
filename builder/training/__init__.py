"""Logs of trainings and evaluations: read while they are written, summarised, held against the published tables."""
