"""drivebuild: recipes, Dockerfiles and images for autonomous-driving models on Ascend NPUs."""

__version__ = "0.1.0"
