"""Whether two builds made the same image: layers and files side by side, and why those differ that do."""
