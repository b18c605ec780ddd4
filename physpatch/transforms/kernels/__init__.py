"""The heavy arithmetic of the transforms, with gradients: torch is loaded here, and not by the transforms themselves."""
