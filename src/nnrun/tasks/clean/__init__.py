"""`task=clean`: show which runs would be deleted, and delete them on request."""
