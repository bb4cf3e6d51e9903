"""What an image is made of and where it comes from, read from its files: packages, licences, differences, origins."""
