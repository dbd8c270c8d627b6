"""Handing in: what the challenge asks for, packed and checked."""
