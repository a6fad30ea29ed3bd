"""SQL queries behind the web pages."""
