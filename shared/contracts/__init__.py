"""What is on a wire and read by two services or a customer: events, topology, datasets, problems."""
