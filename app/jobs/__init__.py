"""Long work beside the service: one job at a time, in a process of its own, with a durable history."""
