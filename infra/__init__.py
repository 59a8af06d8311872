"""What brings Sealift to Azure: Bicep, the hooks of azd, and the tool that deploys adf/.

Of ours it reads the partners' model only, for the secrets that partner files name; the hooks run with the app's requirements.
"""
