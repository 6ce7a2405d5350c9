"""What helps to work on this project and is not part of the package."""
