"""Many images on one machine: which is built when, what became of each, and the page about it. Pure."""
