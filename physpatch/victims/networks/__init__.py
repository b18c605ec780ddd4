"""What is done with an ``nn.Module`` before it is a victim: folding, forms of answers, layers for heat."""
