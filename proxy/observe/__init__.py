"""What Talkmeter says about itself: metrics, declared once, and structured logs. No content, no keys."""
