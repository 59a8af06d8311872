"""Deploys adf/ to a data factory: `./sealift deploy plan | apply | drift --stage dev|prod`.

The folder as ADF Studio's Git integration writes it, plus the stage's overrides, is what should be there; the live
factory is what is there. plan shows the difference, apply makes it go away, drift asks whether there is one. Not done:
creating the factory (Bicep does), publishing ARM templates, remembering anything between two runs.
"""

from __future__ import annotations

from infra.deploy.cli import main

__all__ = ["main"]
