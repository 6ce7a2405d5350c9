"""How the demo model that ships was trained and is measured. Not part of the package."""
