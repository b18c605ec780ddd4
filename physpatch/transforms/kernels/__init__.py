"""The computations of the transforms, with gradients. They load torch; the transforms themselves do not."""
