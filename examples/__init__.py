"""What shows how the product is used: the application `invoicing`, and the demo that runs it."""
