"""Screens from tables: train, calibrate, plan, show, retire."""
