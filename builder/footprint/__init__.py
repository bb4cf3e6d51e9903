"""What an image's bytes are: layers, components, distributions, and what is stored twice."""
