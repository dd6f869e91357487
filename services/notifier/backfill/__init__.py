"""What ClickHouse knows of errors, suppliers and files, brought over and kept in step."""
