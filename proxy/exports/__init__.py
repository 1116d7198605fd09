"""What leaves Talkmeter as files: the ledger and reports, in the formats that finance tools read."""
