"""What a person sees: rows and progress in, text out."""
