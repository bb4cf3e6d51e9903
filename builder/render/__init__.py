"""Plans to text: Dockerfiles, bake, compose, and the comparison with what is on disk. Pure."""
