"""Search, judge, download and publish adapters and models through the Hub's own client."""
