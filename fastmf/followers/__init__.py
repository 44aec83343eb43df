"""Followers: what is derived from a state and told of every change."""
