"""Channels for Jaxley. (None yet.)"""
