"""The commands that train patches, compare them, and measure them on photographs."""
