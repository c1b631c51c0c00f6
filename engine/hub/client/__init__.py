"""Talk to the Hub through its own client, with bounds on time and size."""
