"""What the pages of reports are made of: questions, spans, tables and charts, without asking anybody."""
