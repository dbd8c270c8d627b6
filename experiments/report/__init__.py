"""What a person looks at: pages, pictures, dashboards."""
