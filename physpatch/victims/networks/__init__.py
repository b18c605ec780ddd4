"""What is done with an ``nn.Module`` before it is a victim, and its memory: folding, forms of answers, layers for heat."""
