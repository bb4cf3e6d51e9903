"""nuScenes on disk: what a model needs of it, whether it is there and whole, and a small one made for trying out."""
