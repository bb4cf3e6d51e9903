"""Benchmarks inside images: variants side by side, with an interval, and no winner that noise could have made."""
