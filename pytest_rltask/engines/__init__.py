"""Where trials run: `local` plays many at a time on one asyncio loop, in a thread of pytest's process."""
