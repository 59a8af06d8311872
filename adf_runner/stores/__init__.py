"""Where a Copy reads and writes: blobs, SFTP, HTTP, PostgreSQL, and rows as delimited text or JSON between them."""
