"""Results for people: pages, plots, tables, dashboards."""
