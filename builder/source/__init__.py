"""What is read from disk and from the network: recipe folders, locks, sources."""
