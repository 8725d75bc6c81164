"""What experiments share: configuration, settings, runs, results on disk and resuming."""
