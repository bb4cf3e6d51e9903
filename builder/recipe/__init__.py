"""Nouns: frozen typed values and the strict loader. Pure: text in, values or errors out."""
