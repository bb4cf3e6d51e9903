"""One training step on the CPU, and the machine it ran on."""

import platform

import cv2
import einops
import torch

torch.manual_seed(0)
layer = torch.nn.Conv2d(3, 8, 3)
loss = einops.reduce(layer(torch.rand(1, 3, 64, 64)) ** 2, "b c h w -> b", "mean").sum()
loss.backward()
picture = cv2.rotate(torch.ones(4, 6).numpy(), cv2.ROTATE_90_CLOCKWISE)
print(f"step done on {platform.machine()}: loss {loss.item():.6f}, picture {picture.shape}")
