"""What an upstream README says, as facts with lines: parsed, linted, compared with another one and a recipe."""
