"""What brings Sealift to Azure: Bicep, the hooks of azd, and the tool that deploys adf/.

Imports nothing of ours; the hooks run with their own short requirements list.
"""
