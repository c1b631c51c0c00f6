"""The Hugging Face Hub: search, judge, download and publish, through its own client."""
