"""reactor: consumes events and acts on tenant processes."""
