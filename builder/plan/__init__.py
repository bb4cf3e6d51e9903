"""(model, platform, variant, options) to a graph of stages. Pure."""
