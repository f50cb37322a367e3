"""What was written since the snapshot was made, searchable at once; and the writing itself."""
