"""Followers: data derived from a model's state and kept current with every Delta (see `fastmf.protocols.Follower`)."""
