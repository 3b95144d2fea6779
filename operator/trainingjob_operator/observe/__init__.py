"""What exists: raw objects of the API server in, one frozen ``facts.Observed`` out."""
