"""What brings Sealift to Azure: Bicep, the hooks of azd, and the tool that deploys adf/."""
