"""What stored rows say: comparison, best cell, lint, nights."""
