"""What happens, as tables: events to columns to pandas."""
