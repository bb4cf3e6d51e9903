"""The only door to docker, buildx, compose and to processes."""
