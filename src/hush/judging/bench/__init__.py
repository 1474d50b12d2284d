"""Our weights beside their peers, in one run: quality, time and memory."""
