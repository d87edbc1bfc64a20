"""What shows the product at work: the demo, its application, its databases."""
