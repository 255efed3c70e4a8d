"""Objects in a bucket: S3-compatible storage, Google Cloud Storage, Azure Blob Storage."""
