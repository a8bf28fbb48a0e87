"""Where finished files lie, and what is in them."""
