"""XML for the expression language: documents, their text, their JSON form and XPath 1.0. Pure; knows no files, no DTDs."""
