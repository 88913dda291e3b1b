"""The report's page template and plots."""
