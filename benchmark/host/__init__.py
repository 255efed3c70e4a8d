"""What this machine is and how quiet it is."""
